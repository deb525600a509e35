{{- define "zkml.security" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  # The cluster's own profile may refuse user namespaces: children then have no network all the
  # same, by their seccomp filter.
  seccompProfile: {type: RuntimeDefault}
automountServiceAccountToken: false
{{- end -}}

{{- define "zkml.container" -}}
image: {{ .Values.image | quote }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
envFrom:
  - secretRef: {name: {{ .Values.secret | quote }}}
env:
{{- range $name, $value := .Values.settings }}
  - {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- with .classes }}
  - {name: ZKML_WORKER_CLASSES, value: {{ . | quote }}}
{{- end }}
volumeMounts:
  - {name: home, mountPath: /var/lib/zkml}
  - {name: keys, mountPath: /var/lib/zkml/keys, readOnly: true}
  - {name: scratch, mountPath: /tmp}
{{- end -}}

{{- define "zkml.volumes" -}}
- {name: home, emptyDir: {}}
- {name: keys, secret: {secretName: {{ .root.Values.keysSecret | quote }}, defaultMode: 0440}}
- {name: scratch, emptyDir: {sizeLimit: {{ .scratch }}}}
{{- end -}}

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
{{- with .group }}
  - {name: ZKML_WORKER_CLASSES, value: {{ join "," (ternary (append .sizes "notify") .sizes (default false .notify)) | quote }}}
  - {name: ZKML_STOP_GRACE_S, value: {{ $.Values.stopGraceSeconds | quote }}}
{{- end }}
volumeMounts:
  - {name: home, mountPath: /var/lib/zkml}
  - {name: keys, mountPath: /var/lib/zkml/keys, readOnly: true}
  - {name: scratch, mountPath: /tmp}
{{- if .Values.srsClaim }}
  - {name: srs, mountPath: /var/lib/zkml/srs, readOnly: true}
{{- end }}
{{- end -}}

{{- define "zkml.volumes" -}}
- {name: home, emptyDir: {}}
- {name: keys, secret: {secretName: {{ .root.Values.keysSecret | quote }}, defaultMode: 0440}}
- {name: scratch, emptyDir: {sizeLimit: {{ .scratch }}}}
{{- with .root.Values.srsClaim }}
- {name: srs, persistentVolumeClaim: {claimName: {{ . | quote }}, readOnly: true}}
{{- end }}
{{- end -}}

{{- define "zkml.worker" -}}
{{- include "zkml.security" .root }}
# What fits is finished, the rest goes back to the queue; then a little room to say so.
terminationGracePeriodSeconds: {{ add .root.Values.stopGraceSeconds 30 }}
containers:
  - name: worker
    args: {{ .args }}
    resources: {{- toYaml .group.resources | nindent 6 }}
    {{- include "zkml.container" (dict "Values" .root.Values "group" .group) | nindent 4 }}
volumes: {{- include "zkml.volumes" (dict "root" .root "scratch" .group.scratch) | nindent 2 }}
{{- end -}}

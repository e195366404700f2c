"""PageQuery: the query parameters that every list has, in REST and in GraphQL."""

from pydantic import BaseModel, ConfigDict, Field


class PageQuery(BaseModel):
    """Which page of a list. A list derives from it and adds its own conditions; other parameters are refused."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(100, ge=1, le=500, description="How many items at most.")
    cursor: str | None = Field(None, max_length=500, description="`next_cursor` of the page before.")

    def conditions(self) -> dict[str, str | None]:
        """The list's own parameters, by name."""
        own = self.model_dump(exclude={"limit", "cursor"})
        return {name: value if value is None else str(value) for name, value in own.items()}

"""GroupSpec: what people write about a group of users. The value that it becomes is `notifier.group`'s."""

from pydantic import Field

from notifier.definition.definition_spec import DefinitionSpec
from notifier.definition.names import Title, Usernames
from notifier.definition.user_spec import Worlds


class GroupSpec(DefinitionSpec):
    """Users who are told together: `group:NAME` stands for them among a configuration's users and as a message's receiver."""

    title: Title | None = Field(None, description="What people call it.")
    members: Usernames = Field((), description="Who belongs to it: usernames. A group holds no other groups.")
    additional_info: Worlds = Field(
        default_factory=dict,
        description="The group's names by world.",
        examples=[{"github": {"username": "my-org/ops-team"}}],
    )

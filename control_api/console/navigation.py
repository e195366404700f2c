"""Navigation: the pages that the frame links to, in their order."""

from dataclasses import dataclass

from control_api.access.actor import Scope


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A page in the navigation. `title` is in English, for the translation."""

    address: str
    title: str
    scope: Scope = "read"  # who lacks it does not see the entry


@dataclass(frozen=True, kw_only=True)
class Section:
    """Entries that belong together."""

    title: str
    entries: tuple[Entry, ...]


def N_(text: str) -> str:
    """Marks a text for translation."""
    return text


NAVIGATION = (
    Section(
        title=N_("Now"),
        entries=(
            Entry(address="/console", title=N_("Home")),
            Entry(address="/console/messages", title=N_("Messages")),
            Entry(address="/console/dead_letters", title=N_("Dead letters")),
            Entry(address="/console/runs", title=N_("Runs")),
        ),
    ),
    Section(
        title=N_("Who hears what"),
        entries=(
            Entry(address="/console/configurations", title=N_("Configurations")),
            Entry(address="/console/users", title=N_("Users")),
            Entry(address="/console/groups", title=N_("Groups")),
        ),
    ),
    Section(
        title=N_("How"),
        entries=(
            Entry(address="/console/producers", title=N_("Producers")),
            Entry(address="/console/mappings", title=N_("Mappings")),
            Entry(address="/console/filters", title=N_("Filters")),
            Entry(address="/console/consumers", title=N_("Consumers")),
            Entry(address="/console/templates", title=N_("Templates")),
            Entry(address="/console/scripts", title=N_("Scripts")),
        ),
    ),
    Section(
        title=N_("Notifier itself"),
        entries=(
            Entry(address="/console/system", title=N_("System")),
            Entry(address="/console/access", title=N_("Access"), scope="admin"),
            Entry(address="/console/audit", title=N_("Audit"), scope="admin"),
            Entry(address="/graphql", title=N_("GraphiQL")),
            Entry(address="/docs", title=N_("API docs")),
        ),
    ),
)

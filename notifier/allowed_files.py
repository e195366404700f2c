"""Allowed files: which files of this machine definitions may name. None, unless the operator names the folders."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from notifier.errors import Permanent


@dataclass(frozen=True, kw_only=True)
class AllowedFiles:
    """The files within `folders`, and never one within `never`. Symlinks are followed before either is asked."""

    folders: Sequence[Path] = ()
    never: Sequence[Path] = ()
    setting: str = "NOTIFIER_SQLITE_FOLDERS"  # which names the folders

    def find(self, path: Path) -> Path:
        """The file that a path leads to. Raises Permanent `forbidden`, and `not_found` where there is no such file.

        Whether a file is there is said only of allowed folders.
        """
        try:
            found = path.resolve()
            forbidden = not any(found.is_relative_to(folder.resolve()) for folder in self.folders) or any(
                found.is_relative_to(folder.resolve()) for folder in self.never
            )
        except (OSError, RuntimeError, ValueError):  # a circle of symlinks; a NUL
            forbidden = True
        if forbidden:
            raise Permanent("forbidden", f"{path} does not lie in a folder of {self.setting}")
        if not found.is_file():
            raise Permanent("not_found", f"there is no file {path}")
        return found

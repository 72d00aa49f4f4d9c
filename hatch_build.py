"""Build hook: put ``configs/`` into the wheel, and only there.

An editable install reads ``configs/`` from the tree (pyproject.toml says how code finds either).
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ConfigsInWheel(BuildHookInterface[Any]):
    """Ships ``configs/`` as ``shootdown_cli/configs`` when the build is not an editable one."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the folder to a ``standard`` wheel; leave an ``editable`` one as it is."""
        if version == "standard":
            build_data["force_include"]["configs"] = "shootdown_cli/configs"

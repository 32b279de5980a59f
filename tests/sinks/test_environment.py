"""Which names may carry a secret to a program."""

from __future__ import annotations

import pytest

from r4_mcp.errors import InvalidArgumentError
from r4_mcp.sinks.environment import REFUSED_NAMES, REFUSED_PREFIXES, check_name


@pytest.mark.parametrize(
    "name",
    [
        "TOKEN",
        "DATABASE_URL",
        "AWS_SECRET_ACCESS_KEY",
        "NODE_AUTH_TOKEN",
        "_X",
        "lower",
        "PGPASSWORD",
        "CARGO_REGISTRY_TOKEN",
        "A1",
    ],
)
def test_names_that_programs_read_secrets_from_pass(name: str) -> None:
    """What the sink is for."""
    check_name(name)


@pytest.mark.parametrize("name", [*sorted(REFUSED_NAMES), *(prefix + "X" for prefix in REFUSED_PREFIXES)])
def test_names_that_change_programs_are_refused(name: str) -> None:
    """In any case of their letters, and told."""
    for spelling in (name, name.lower(), name.title()):
        with pytest.raises(InvalidArgumentError, match=spelling):
            check_name(spelling)


@pytest.mark.parametrize(
    "name",
    [
        "LD_PRELOAD",
        "DYLD_INSERT_LIBRARIES",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "GIT_SSH_COMMAND",
        "PERL5LIB",
        "RUBYOPT",
        "npm_config_registry",
    ],
)
def test_the_well_known_ones_are_among_them(name: str) -> None:
    """By name, so that nobody drops a prefix unnoticed."""
    with pytest.raises(InvalidArgumentError):
        check_name(name)


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "A\0", "A\n", "É", "BASH_FUNC_x%%", "A" * 129])
def test_what_is_no_name_is_refused(name: str) -> None:
    """And not quoted: it may be a value in the wrong place."""
    with pytest.raises(InvalidArgumentError) as caught:
        check_name(name)
    assert not name or name not in caught.value.message or name in {"A", "É"}

"""Examples of every command but ``install``, which has its own, for the help.

What this file does not do: lay them out. It is read when somebody asks for help.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

EXAMPLES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "": (
        ("r4-mcp demo", "watch the main job: no account, no network"),
        ("r4-mcp serve --local", "serve the embedded vault in ~/.r4/local"),
        ("r4-mcp init", "make a profile for an R4 agent"),
        ("r4-mcp serve", "serve the R4 vaults of the default profile"),
        ("r4-mcp put --local r4://Work/GitHub/token", "store a value that no model sees"),
        ("r4-mcp ls", "list the vaults"),
    ),
    "serve": (
        ("r4-mcp serve", "the default profile, or the environment"),
        ("r4-mcp serve --profile work", "another profile"),
        ("r4-mcp serve --local", "the embedded vault"),
    ),
    "put": (
        ("r4-mcp put r4://Work/GitHub/token", "type it; it is not shown"),
        ("r4-mcp put r4://Work/GitHub/token < FILE", "take it from a file"),
        ("r4-mcp put --type TOTP r4://Work/GitHub/otp", "a seed, or an otpauth:// URI"),
    ),
    "ls": (
        ("r4-mcp ls", "the vaults"),
        ("r4-mcp ls r4://Work", "the items of a vault"),
        ("r4-mcp ls r4://Work/GitHub", "the fields of an item"),
        ("r4-mcp ls r4://Work --json", "for programs"),
    ),
    "get": (
        ("r4-mcp get r4://Work/GitHub/token", "asks, then shows it"),
        ("r4-mcp get r4://Work/GitHub/token | wl-copy", "the bare value to another program"),
        ("r4-mcp get r4://Work/GitHub/otp", "the current one-time code"),
    ),
    "edit": (
        ("r4-mcp edit r4://Work/GitHub --name 'GitHub work'", "another name"),
        ("r4-mcp edit r4://Work/GitHub --website https://github.com", "the one website"),
        ("r4-mcp edit r4://Work/GitHub --add otp:TOTP --remove pin", "fields"),
        ("r4-mcp edit r4://Work/GitHub --field-type user=TEXT", "a field's type"),
    ),
    "bind": (
        ("r4-mcp bind r4://Work/GitHub https://api.github.com", "one host"),
        ("r4-mcp bind r4://Work/GitHub 'https://*.github.com/v1'", "a path of all subdomains"),
        ("r4-mcp bind --list", "what is bound"),
    ),
    "run": (
        ("r4-mcp run --env TOKEN=r4://Work/GitHub/token -- ./deploy", "its output is masked"),
        ("r4-mcp run --env PW=r4://Work/DB/password -- psql -c '\\l'", "the exit status is psql's"),
    ),
    "emulator": (
        ("r4-mcp emulator --data ./r4-data --seed", "an R4 with demo vaults"),
        ("r4-mcp emulator --fault list", "the lies that it can tell"),
    ),
    "demo": (("r4-mcp demo", "nothing to set up, nothing left behind"),),
    "init": (
        ("r4-mcp init", "asks for the API key"),
        ("r4-mcp init --profile work --config agent.json", "imports what R4 exported"),
        ("r4-mcp init --encrypt --keyring", "an encrypted private key"),
    ),
    "rotate-key": (
        ("r4-mcp rotate-key", "asks, then rotates or finishes it"),
        ("r4-mcp rotate-key --abandon", "give up what the service never accepted"),
    ),
    "trust": (
        ("r4-mcp trust list", "what is remembered"),
        ("r4-mcp trust export", "to compare with another holder"),
    ),
    "trust list": (("r4-mcp trust list --json", "for programs"),),
    "trust add": (("r4-mcp trust add FINGERPRINT", "64 hex digits, from who signs"),),
    "trust remove": (("r4-mcp trust remove FINGERPRINT", "as it was added"),),
    "trust reset": (
        ("r4-mcp trust reset 64f0c0ffee0123456789abcd", "one vault, by its id"),
        ("r4-mcp trust reset", "all of them"),
    ),
    "trust export": (("r4-mcp trust export", "one line for each vault"),),
    "doctor": (
        ("r4-mcp doctor", "each step, and what to do"),
        ("r4-mcp doctor --json", "for programs"),
    ),
    "audit": (
        ("r4-mcp audit", "one line for each call"),
        ("r4-mcp audit --follow", "and each new one, until Ctrl-C"),
        ("r4-mcp audit --head > head.txt", "keep the end of the chain elsewhere"),
        ('r4-mcp audit --verify "$(cat head.txt)"', "and compare later"),
    ),
    "exposure": (
        ("r4-mcp exposure", "what was shown, and what to rotate"),
        ("r4-mcp exposure --clear", "after it was rotated"),
    ),
    "policy": (
        ("r4-mcp policy check", "is the file right, and what does it say?"),
        ("r4-mcp policy explain r4://Work/GitHub", "which rule decides, and why?"),
    ),
    "policy check": (
        ("r4-mcp policy check", "also shows the defaults"),
        ("r4-mcp policy check --json", "for programs"),
    ),
    "policy explain": (("r4-mcp policy explain r4://Work/GitHub/token", "action by action"),),
    "policy allow": (
        ("r4-mcp policy allow r4://Work/GitHub/token", "models may read it"),
        ("r4-mcp policy allow r4://Work --action update --decision ask", "ask first"),
    ),
    "completion": (
        ('eval "$(r4-mcp completion bash)"', "in ~/.bashrc"),
        ('eval "$(r4-mcp completion zsh)"', "in ~/.zshrc, after compinit"),
        ("r4-mcp completion fish | source", "in config.fish"),
    ),
}
"""By command: what to type, and what it does."""

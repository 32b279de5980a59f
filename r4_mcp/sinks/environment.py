"""Names of environment variables that may carry a secret to a program.

What this file does not do: read or change an environment.

Rules:
1. A name is a letter or underscore, then letters, digits and underscores (POSIX.1-2017, section 8.1), in either case.
2. A name is refused that makes a program load other code, read other settings, trust or call others, or start a command: a
   secret is never what such a name is for, and a value there may run.
3. Names are compared without case: some programs read both.
"""

from __future__ import annotations

import re
from typing import Final

from r4_mcp.errors import InvalidArgumentError

REFUSED_NAMES: Final = frozenset(
    {
        # Shells, and what they start or split by.
        "BASHOPTS",
        "BASH_ENV",
        "CDPATH",
        "ENV",
        "FPATH",
        "GLOBIGNORE",
        "HOME",
        "IFS",
        "PATH",
        "PROMPT_COMMAND",
        "PS0",
        "PS1",
        "PS2",
        "PS4",
        "PWD",
        "SHELL",
        "SHELLOPTS",
        "TMPDIR",
        "USER",
        "ZDOTDIR",
        # The C library.
        "GCONV_PATH",
        "GETCONF_DIR",
        "GLIBC_TUNABLES",
        "HOSTALIASES",
        "LOCALDOMAIN",
        "LOCPATH",
        "NLSPATH",
        "RESOLV_HOST_CONF",
        "RES_OPTIONS",
        "TZDIR",
        # Interpreters and virtual machines.
        "ASPNETCORE_HOSTINGSTARTUPASSEMBLIES",
        "CLASSPATH",
        "ELECTRON_RUN_AS_NODE",
        "ERL_AFLAGS",
        "ERL_FLAGS",
        "ERL_LIBS",
        "GHCRTS",
        "JAVA_OPTS",
        "JAVA_TOOL_OPTIONS",
        "JDK_JAVA_OPTIONS",
        "JULIA_DEPOT_PATH",
        "JULIA_LOAD_PATH",
        "NODE_EXTRA_CA_CERTS",
        "NODE_OPTIONS",
        "NODE_PATH",
        "NODE_REPL_EXTERNAL_MODULE",
        "NODE_TLS_REJECT_UNAUTHORIZED",
        "PYTEST_ADDOPTS",
        "PYTEST_PLUGINS",
        "PERLLIB",
        "PHPRC",
        "PHP_INI_SCAN_DIR",
        "PSMODULEPATH",
        "R_ENVIRON",
        "R_LIBS",
        "R_PROFILE",
        "R_PROFILE_USER",
        "TCLLIBPATH",
        "UV_DEFAULT_INDEX",
        "UV_EXTRA_INDEX_URL",
        "UV_INDEX_URL",
        "VIRTUAL_ENV",
        "_JAVA_OPTIONS",
        # Compilers and build tools.
        "CARGO_HOME",
        "CC",
        "COMPILER_PATH",
        "COMPOSE_FILE",
        "CXX",
        "GCC_EXEC_PREFIX",
        "GOFLAGS",
        "GOPATH",
        "GOPROXY",
        "GOROOT",
        "GRADLE_OPTS",
        "MAKEFILES",
        "MAKEFLAGS",
        "MAVEN_OPTS",
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTFLAGS",
        "RUSTUP_HOME",
        # Programs that other programs start, and what those read.
        "BROWSER",
        "EDITOR",
        "EXINIT",
        "INPUTRC",
        "KUBE_EDITOR",
        "LESS",
        "LESSCLOSE",
        "LESSKEY",
        "LESSOPEN",
        "MANPAGER",
        "PAGER",
        "PSQL_PAGER",
        "RSYNC_RSH",
        "SSH_ASKPASS",
        "SUDO_ASKPASS",
        "SUDO_EDITOR",
        "SVN_SSH",
        "SYSTEMD_EDITOR",
        "TAR_OPTIONS",
        "VIMINIT",
        "VISUAL",
        # Whom to trust and through whom to speak.
        "ALL_PROXY",
        "ANSIBLE_CONFIG",
        "AWS_CA_BUNDLE",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "BOTO_CONFIG",
        "CURL_CA_BUNDLE",
        "CURL_HOME",
        "DOCKER_CONFIG",
        "DOCKER_HOST",
        "FTP_PROXY",
        "GNUPGHOME",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "KRB5_CONFIG",
        "KUBECONFIG",
        "MYSQL_HOME",
        "NO_PROXY",
        "ODBCINI",
        "ODBCSYSINI",
        "PGSERVICEFILE",
        "PGSYSCONFDIR",
        "REQUESTS_CA_BUNDLE",
        "SSH_AUTH_SOCK",
        "SSLKEYLOGFILE",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TF_CLI_CONFIG_FILE",
        "WGETRC",
        # Terminals.
        "TERM",
        "TERMCAP",
        "TERMINFO",
        "TERMINFO_DIRS",
    }
)

REFUSED_PREFIXES: Final = (
    "AWS_ENDPOINT_URL",
    "BASH_FUNC_",
    "BUNDLE_",
    "CARGO_BUILD_",
    "COMPLUS_",
    "CORECLR_",
    "COR_",
    "DOTNET_",
    "DYLD_",
    "GEM_",
    "GIT_",
    "LD_",
    "LUA_",
    "MALLOC_",
    "NPM_CONFIG_",
    "OPENSSL_",
    "PERL5",
    "PIP_",
    "PYTHON",
    # Our own settings: a program must not be made to act as this agent.
    "R4_",
    "RUBY",
    "XDG_",
)

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)


def check_name(name: str) -> None:
    """Let a name pass that may carry a secret.

    Raises:
        InvalidArgumentError: Rules 1 to 3. The name is told only where it is one of the refused.
    """
    if not _NAME.fullmatch(name):
        raise InvalidArgumentError("an environment name has letters, digits and underscores, and begins with no digit")
    folded = name.upper()
    if folded in REFUSED_NAMES or folded.startswith(REFUSED_PREFIXES):
        raise InvalidArgumentError(f"the environment name {name} changes how programs load or behave, so it carries no secret")

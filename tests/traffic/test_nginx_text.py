"""The upstream in nginx's own language: read as nginx reads it, changed in a few bytes, refused with its line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.servers.nginx import Nginx
from watchdog.traffic.nginx_text import (
    UpstreamError,
    normalised,
    paused_in,
    same_to_nginx,
    servers_of,
    setting_of,
    switched,
)

HAND_WRITTEN = """\
# written by hand on a Friday; do not touch
map $host $pool { default "a;b{c"; ~^x\\{2\\} 'it''s'; }

upstream other { server 10.0.0.1:80 weight=3; server 10.0.0.2 down; }
upstream "trips" {  # server 127.0.0.1:9999;
\tzone trips 64k;
\tserver 127.0.0.1:8081   weight=5 max_fails=0 ;   # blue; {not a block}
    server "127.0.0.1:8082" down fail_timeout=5s
           max_conns=${max}7;
    server Green.Internal:08083  backup;server unix:/run/App.sock down\tweight=2;
    keepalive 16; # }
}
server { location / { return 200 "}"; } }
"""


def test_servers_are_read_as_they_were_written() -> None:
    found = [
        (one.address, one.weight, one.down, one.backup, one.line)
        for one in servers_of(HAND_WRITTEN.replace("'it''s'", "its"), "trips")
    ]
    assert found == [
        ("127.0.0.1:8081", 5, False, False, 7),
        ("127.0.0.1:8082", 1, True, False, 8),
        ("green.internal:8083", 1, False, True, 10),
        ("unix:/run/App.sock", 2, True, False, 10),
    ]


def test_only_the_word_down_changes() -> None:
    text = HAND_WRITTEN.replace("'it''s'", "its")
    servers = servers_of(text, "trips")
    after = switched(
        text,
        servers,
        up=["127.0.0.1:8082", "unix:/run/App.sock"],
        down=["127.0.0.1:8081", "green.internal:8083"],
    )
    assert after == (
        text.replace("max_fails=0 ;", "max_fails=0 down ;")
        .replace('"127.0.0.1:8082" down', '"127.0.0.1:8082"')
        .replace("backup;", "backup down;")
        .replace("App.sock down\tweight", "App.sock\tweight")
    )


def test_there_and_back_is_the_same_text() -> None:
    text = "upstream a {\n  server 1.1.1.1:1;\n  server 1.1.1.1:2 down; # x\n}\n"
    there = switched(text, servers_of(text, "a"), up=["1.1.1.1:2"], down=["1.1.1.1:1"])
    assert there == "upstream a {\n  server 1.1.1.1:1 down;\n  server 1.1.1.1:2; # x\n}\n"
    assert switched(there, servers_of(there, "a"), up=["1.1.1.1:1"], down=["1.1.1.1:2"]) == text


def test_what_is_so_already_is_left_as_it_is() -> None:
    text = "upstream a { server 1.1.1.1:1; server 1.1.1.1:2 down down; }"
    assert switched(text, servers_of(text, "a"), up=["1.1.1.1:1"], down=["1.1.1.1:2"]) == text


WRONG = [
    ("upstream b { server 1.1.1.1; }", r"there is no `upstream a` in it \(it has: b\)"),
    ("# nothing", "there is no `upstream a` in it$"),
    ("upstream a {\n}\nupstream a {\n}", "more than once, in lines 1 and 3"),
    ("upstream a {\n\n server 1.1.1.1 weight=0;}", "line 3: weight=0 is not a weight that nginx takes"),
    ("upstream a { server 1.1.1.1 weight=many;}", "line 1: weight=many"),
    ("upstream a {\n server ; }", "line 2: a server without an address"),
    ("upstream a {\n include servers.inc; }", "line 2: `include` in the upstream"),
    ("upstream a {\n if (x) { } }", "line 2: a block `if` in an upstream"),
    (
        "upstream a {\n balancer_by_lua_block { x = '}' } }",
        "line 2: `balancer_by_lua_block` is not in nginx's own",
    ),
    ("upstream a {\n server 1.1.1.1\n}", "line 2: no ; after `server`"),
    ("upstream a {\n server 1.1.1.1;\n", "line 1: `upstream` is not closed"),
    ("upstream a { }\nx", "line 2: the file ends in the middle of `x`"),
    ("upstream a { }\n}", "line 2: unexpected }"),
    ("upstream a { ; }", "line 1: unexpected ;"),
    ("{ }", "line 1: unexpected {"),
    ("upstream { }", "line 1: an upstream has one name"),
    ("upstream a {\n server '1.1.1.1; }", "line 2: a quote is not closed"),
    ("upstream a { server '1.1.1.1'x; }", "line 1: unexpected 'x' after a quote"),
]


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_what_is_not_understood_is_told_with_its_line(text: str, said: str) -> None:
    with pytest.raises(UpstreamError, match=said):
        servers_of(text, "a")


def test_another_upstream_may_be_what_it_likes() -> None:
    text = "upstream b { include x; server 1.1.1.1 weight=0; }\nupstream a { server 1.1.1.1; }"
    assert [one.address for one in servers_of(text, "a")] == ["1.1.1.1:80"]


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("127.0.0.1", "127.0.0.1:80"),
        ("Backend.Example:0080", "backend.example:80"),
        ("[::1]", "[::1]:80"),
        ("[::1]:8080", "[::1]:8080"),
        ("unix:/run/App.sock", "unix:/run/App.sock"),
        ("backend:http", "backend:http"),
    ],
)
def test_addresses_compare_with_their_port(written: str, same: str) -> None:
    assert normalised(written) == same


def test_a_setting_of_the_main_configuration_is_found() -> None:
    text = "user www;\npid /run/x.pid; # pid /run/y.pid;\nhttp { pid /run/z.pid; }"
    assert setting_of(text, "pid") == "/run/x.pid"
    assert setting_of(text, "daemon") is None


MARK = "# watchdog: paused"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("upstream a { server 1.1.1.1; }", ""),
        ("upstream a { # watchdog: paused database migration\n server 1.1.1.1; }", "database migration"),
        ("# watchdog: paused by alice, ask her\nupstream a { server 1.1.1.1; }", "by alice, ask her"),
        ("upstream a { server 1.1.1.1; }\n# watchdog: paused", "no reason given"),
        ("upstream a { server 1.1.1.1; # watchdog: paused\t too  late \r\n}", "too late"),
        ("##  Watchdog:PAUSED: für immer\nupstream a { server 1.1.1.1; }", "für immer"),
        ("http { # watchdog: paused all of it\nupstream a { server 1.1.1.1; } }", "all of it"),
        ("upstream a { server 1.1.1.1; }\nserver { # watchdog: paused beside\n }", "beside"),
        # Misspelt is meant all the same: a kill switch that does nothing is the worst of all.
        ("upstream a { # watchdog: pause it\n server 1.1.1.1; }", "it"),
        ("upstream a { # watchdog: pusaed it\n server 1.1.1.1; }", "it"),
        # What is none.
        ("upstream b { # watchdog: paused\n server 1.1.1.1; }\nupstream a { server 1.1.1.1; }", ""),
        ("upstream a { # watchdog: managed by the team\n server 1.1.1.1; }", ""),
        ("upstream a { # it was paused by the watchdog: twice\n server 1.1.1.1; }", ""),
        ("upstream a { server '# watchdog: paused'; }", ""),
        ("upstream a { server 1.1.1.1#watchdog:paused; }", ""),
        # Read as far as it can be.
        ("# watchdog: paused broken\nupstream a { server 'x", "broken"),
        ("upstream a { server 'x\n# watchdog: paused", ""),
        ("} # watchdog: paused after all\n", "after all"),
    ],
)
def test_a_comment_beside_the_servers_is_a_kill_switch(text: str, reason: str) -> None:
    assert paused_in(text.encode().decode("latin-1"), "a") == reason


def test_of_several_marks_the_first_that_concerns_the_upstream_counts() -> None:
    text = f"upstream b {{ {MARK} b\n}}\nupstream a {{ {MARK} a\n}}\n{MARK} all\n"
    assert (paused_in(text, "a"), paused_in(text, "b"), paused_in(text, "c")) == ("a", "b", "all")


def test_a_change_keeps_the_mark() -> None:
    text = f"upstream a {{ {MARK} for now\n server 1.1.1.1; server 2.2.2.2 down; }}"
    after = switched(text, servers_of(text, "a"), up=["2.2.2.2:80"], down=["1.1.1.1:80"])
    assert paused_in(after, "a") == "for now"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("upstream a { server 1.1.1.1; }", f"{MARK}\nupstream  a\n{{server 1.1.1.1; #x\n}}", True),
        ("upstream a { server 1.1.1.1; }", "upstream a { server 1.1.1.1 down; }", False),
        ("upstream a { server 1.1.1.1; }", "upstream a { server '1.1.1.1'; }", False),
        ("upstream a { server 1.1.1.1; }", "upstream a { server 1.1.1.1; ", False),
        ("upstream a { server 'x", "upstream a { server 'x", False),
    ],
)
def test_comments_and_blanks_are_nothing_to_nginx(one: str, other: str, same: bool) -> None:
    assert same_to_nginx(one, other) is same


PIECES = st.sampled_from(
    [
        *(
            "upstream a {",
            "upstream b {",
            "}",
            "server 1.1.1.1:1",
            "server '1.1.1.1:2'",
            " down",
            " weight=2",
        ),
        *(
            "# x\n",
            " backup",
            '"',
            "'",
            "\\",
            "${",
            "$",
            "{",
            "keepalive 4;",
            " ",
            "\t",
            "down;",
            "é",
            ";",
            "\n",
        ),
    ]
)


@given(st.lists(PIECES, max_size=25).map("".join))
def test_any_text_is_read_or_refused_and_a_change_is_read_back_as_asked(text: str) -> None:
    try:
        servers = servers_of(text, "a")
    except UpstreamError:
        return
    up, down = ["1.1.1.1:1"], ["1.1.1.1:2"]
    after = servers_of(switched(text, servers, up=up, down=down), "a")
    assert [one.address for one in after] == [one.address for one in servers]
    assert [one.down for one in after] == [one.address in down for one in after]
    assert len(after) == len(servers)


SAID_BY_NGINX = [
    ('upstream trips { server "127.0.0.1:8081" down; server 127.0.0.1:8082; }', True),
    ("upstream trips { server 127.0.0.1:8081 weight=0; }", False),
    ("upstream trips { server '127.0.0.1:8081'x; }", False),
    ("upstream trips { server 127.0.0.1:8081 down }", False),
    ("upstream trips { server 127.0.0.1:8081 \\down; }", False),
    ("upstream trips { server 127.0.0.1:8081 'do'; }", False),
    ("upstream trips { server 127.0.0.1:8081\tdown\n;# }\n}", True),
    ("upstream trips { server 127.0.0.1:8081 down;} # x", True),
]


@pytest.mark.parametrize(("text", "good"), SAID_BY_NGINX)
def test_nginx_agrees_about_what_is_good(text: str, good: bool, tmp_path: Path) -> None:
    nginx = Nginx(tmp_path, {})
    nginx.file.write_text(text)
    done = subprocess.run(nginx.test_argv, capture_output=True, text=True, timeout=10, check=False)
    assert (done.returncode == 0) is good, done.stderr
    if good:
        assert servers_of(text, "trips")[0].down

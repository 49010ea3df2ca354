from __future__ import annotations

import msgspec

from watchdog.core.switchplace import another_object, exchanged, switch_place

TCP = "haproxy:tcp://operator:s3cret@10.0.0.1:9999:trips"
NAMED = {"blue": ("one",), "green": ("two", "three")}


def test_the_same_switch_is_the_same_place_however_its_servers_are_written() -> None:
    before = switch_place(TCP, NAMED)
    after = switch_place(TCP, {"green": ["two", "three"], "blue": "one"})
    assert not another_object(before, after)
    assert exchanged(before, after) == frozenset()


def test_another_identity_another_name_and_another_server_are_another_object() -> None:
    before = switch_place(TCP, NAMED)
    assert another_object(before, switch_place("haproxy:/run/other.sock:trips", NAMED))
    assert another_object(before, switch_place(TCP, {"pink": ("one",), "green": ("two", "three")}))
    assert another_object(before, switch_place(TCP, {**NAMED, "blue": ("one", "four")}))


def test_a_variant_is_exchanged_when_not_one_of_its_servers_is_left() -> None:
    before = switch_place(TCP, {**NAMED, "red": ("four",)})
    after = switch_place(TCP, {"blue": "two", "green": ["three", "five"], "pink": "four"})
    assert exchanged(before, after) == {"blue"}


def test_a_switch_that_is_not_told_its_servers_exchanges_nothing() -> None:
    assert exchanged(switch_place("command:1", None), switch_place("command:2", None)) == frozenset()


def test_no_credential_of_an_address_gets_into_it() -> None:
    place = switch_place(TCP, {"blue": "user:s3cret@one", "green": "two"})
    stored = msgspec.json.encode(place).decode()
    assert "s3cret" not in stored + repr(place)
    assert "one" not in stored

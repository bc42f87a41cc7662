"""The access control list of a socket, as the kernel keeps it."""

from __future__ import annotations

import struct

from ansible_collections.bulkhead.docker.plugins.module_utils._installed import socket_acl

ANY = 0xFFFFFFFF
PLAIN = [(1, 6, ANY), (4, 6, ANY), (32, 0, ANY)]  # a socket of mode 0660


def test_a_group_is_added_and_everything_else_stays() -> None:
    assert socket_acl.with_group(PLAIN, 997) == [*PLAIN, (8, 6, 997), (16, 6, ANY)]
    found = [(1, 6, ANY), (2, 4, 1000), (4, 0, ANY), (8, 7, 50), (16, 7, ANY), (32, 0, ANY)]
    assert socket_acl.with_group(found, 997) == [
        *((1, 6, ANY), (2, 4, 1000), (4, 0, ANY), (8, 7, 50), (32, 0, ANY)),
        *((8, 6, 997), (16, 7, ANY)),
    ]


def test_entries_that_a_mask_held_down_get_no_more_than_it_left_them() -> None:
    found = [(1, 6, ANY), (2, 6, 1000), (4, 6, ANY), (8, 7, 50), (16, 4, ANY), (32, 0, ANY)]
    with_us = socket_acl.with_group(found, 997)
    assert with_us == [
        *((1, 6, ANY), (2, 4, 1000), (4, 4, ANY), (8, 4, 50), (32, 0, ANY)),
        *((8, 6, 997), (16, 6, ANY)),
    ]
    without_us = {(tag, who): permissions for tag, permissions, who in socket_acl.without_group(with_us, 997)}
    assert (without_us[2, 1000], without_us[8, 50], without_us[16, ANY]) == (4, 4, 4)


def test_adding_twice_is_adding_once_and_taking_away_leaves_what_was() -> None:
    once = socket_acl.with_group(PLAIN, 997)
    assert sorted(socket_acl.with_group(once, 997)) == sorted(once)
    assert socket_acl.without_group(once, 997) == PLAIN
    two = socket_acl.with_group(once, 50)
    assert sorted(socket_acl.without_group(two, 50)) == sorted(once)


def test_it_is_written_in_the_kernel_s_order() -> None:
    data = socket_acl.dump(socket_acl.with_group(PLAIN, 997))
    assert data[:4] == struct.pack("<I", 2)
    assert [entry[0] for entry in socket_acl.parse(data)] == [1, 4, 8, 16, 32]

"""The words that cross the contract: which spellings are taken, and that nothing else gets through."""

from __future__ import annotations

import base64
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_agent.contract.names import GroupName, InstanceId, Name, PublicKey, Reason, shown

KEY = "Cs0Q4XE7Wk9WJ3eE0S+8o5m4cP6p0mX5mI5J2aY0XFE="


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (InstanceId, "i-0abc1234def567890"),
        (InstanceId, "i-12345678"),
        (InstanceId, "i-a"),
        (InstanceId, "i-" + "a" * 61),
        (GroupName, "eu-north-1/drawbridge-edge"),
        (GroupName, "eu-north-1/Shop_v1.2-edge"),
        (Reason, "Black Friday: æøå, 50 %"),
        (Reason, "x" * 200),
        (PublicKey, KEY),
        (PublicKey, base64.b64encode(b"\xff" * 32).decode()),
        (PublicKey, base64.b64encode(b"\0" * 31 + b"\1").decode()),
    ],
)
def test_a_right_word_is_itself(kind: type[Name], text: str) -> None:
    """A word of the right shape is that string, of its own type."""
    assert kind(text) == text
    assert type(kind(text)) is kind


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (InstanceId, ""),
        (InstanceId, "I-0ABC"),
        (InstanceId, "-i"),
        (InstanceId, "i-"),
        (InstanceId, "i--a"),
        (InstanceId, "i-a-"),
        (InstanceId, "i-0abc\n"),
        (InstanceId, "i-0abc; shutdown"),
        (InstanceId, "i_0abc"),
        (InstanceId, "i-0abç"),
        (InstanceId, "i-٣"),
        (InstanceId, "i-" + "a" * 62),
        (InstanceId, "no-primary"),
        (GroupName, "drawbridge-edge"),
        (GroupName, "eu-north-1/"),
        (GroupName, "eu-north-1/a/b"),
        (GroupName, "eu-north-1/../x"),
        (GroupName, "eu-north-1/a b"),
        (Reason, ""),
        (Reason, "x" * 201),
        (Reason, "two\nlines"),
        (Reason, "bell\a"),
        (Reason, "escape\x1b[31m"),
        (Reason, "next line\x85"),
        (Reason, "separator\u2028"),
        (Reason, "half \ud800"),
        (PublicKey, ""),
        (PublicKey, KEY[:-1]),
        (PublicKey, KEY[1:]),
        (PublicKey, KEY + "="),
        (PublicKey, KEY + "\n"),
        (PublicKey, " " + KEY),
        (PublicKey, KEY.replace("+", "-")),
        (PublicKey, KEY[:20] + "=" + KEY[21:]),
        (PublicKey, KEY[:42] + "F="),
        (PublicKey, base64.b64encode(b"x" * 31).decode()),
        (PublicKey, base64.b64encode(b"x" * 33).decode()),
        (PublicKey, "A" * 43 + "="),
    ],
)
def test_a_wrong_word_is_refused(kind: type[Name], text: str) -> None:
    """Any other spelling raises ValueError, saying what was wanted and found."""
    with pytest.raises(ValueError, match=r"wanted .*, found ") as caught:
        kind(text)
    assert kind.wanted in str(caught.value)
    assert len(str(caught.value)) < 250


@given(st.binary(min_size=32, max_size=32))
def test_a_key_has_one_spelling(raw: bytes) -> None:
    """Every 32 bytes but zeros are a key in canonical base64, and in no other spelling of the same bytes."""
    text = base64.b64encode(raw).decode()
    if not any(raw):
        with pytest.raises(ValueError, match="the key of all zeros"):
            PublicKey(text)
        return
    assert base64.b64decode(PublicKey(text)) == raw
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = alphabet.index(text[42])
    for other in range(last & ~3, (last & ~3) + 4):
        if other != last:
            with pytest.raises(ValueError, match="not canonical"):
                PublicKey(f"{text[:42]}{alphabet[other]}=")


WORDS: dict[type[Name], list[str]] = {
    InstanceId: ["i-0abc1234def567890", "i-0", "i-a-b", "i-", "i-a-", "i--a", "i-A"],
    GroupName: ["eu-north-1/drawbridge-edge", "a/b", "a/", "a/b/c"],
    Reason: ["x", "with a space", "tab\t", "next line\x85", ""],
    PublicKey: [KEY, KEY[:42] + "F=", "A" * 43 + "=", KEY + "="],
}


@pytest.mark.parametrize("kind", WORDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_a_column_is_what_its_words_are(kind: type[Name], data: st.DataObject) -> None:
    """Many at once are taken exactly when each by itself is, and come out as the same words of the same type."""
    word = st.sampled_from(WORDS[kind])
    two_lines = st.builds("{}\n{}".format, word, word)
    texts: list[typing.Any] = data.draw(st.lists(word | two_lines | st.sampled_from(["\n", "", 7, None]), max_size=4))
    try:
        one_by_one = tuple(kind(text) for text in texts)
    except ValueError:
        assert kind.column(texts) is None
        return
    taken = kind.column(texts)
    assert taken == one_by_one
    assert taken is not None
    assert {type(each) for each in taken} <= {kind}


@pytest.mark.parametrize("value", [["x"], 7, None, b"i-0abc"])
def test_what_is_no_text_is_refused(value: object) -> None:
    """A word is made of a string and of nothing that merely looks like one."""
    with pytest.raises(ValueError, match="wanted an instance id"):
        InstanceId(value)  # type: ignore[arg-type]  # on purpose


@given(st.recursive(st.text() | st.integers() | st.binary(), lambda inner: st.lists(inner) | st.tuples(inner)))
def test_what_is_shown_is_short_and_printable(value: object) -> None:
    """Whatever is shown in an error fits into a line and can be printed anywhere."""
    text = shown(value)
    assert len(text) <= 80
    assert text.isprintable()
    assert text.encode()

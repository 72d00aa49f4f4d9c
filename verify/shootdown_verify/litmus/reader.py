"""A cursor over the tokens of a scenario file, and the errors that it raises at a token.

Only the handling of tokens may live here; what the language is, `parser` and its parts say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from shootdown_protocol.limits import NAME_CHARACTERS_MAX
from shootdown_verify.litmus.errors import ScenarioError
from shootdown_verify.litmus.tokens import Shape, Token, tokenize
from shootdown_verify.litmus.vocabulary import END_WORDS, IDENTIFIER
from shootdown_verify.source import Source, nearest, one_of

_DIGITS_MAX: Final = 7


class Reader:
    """Reads tokens one by one. Ends of lines are skipped, but by `take_line`."""

    def __init__(self, source: Source, tokens: Sequence[Token]) -> None:
        """Read ``tokens``; the last must be of shape ``END``."""
        assert tokens[-1].shape is Shape.END
        self.source = source
        self._tokens = tokens
        self._at = 0

    @classmethod
    def of(cls, source: Source) -> Reader:
        """Read a whole text; `ScenarioError` on a mark that belongs to no token."""
        return cls(source, tokenize(source))

    def peek(self) -> Token:
        """Return the next token that is not the end of a line, and do not take it."""
        while self._tokens[self._at].shape is Shape.NEWLINE:
            self._at += 1
        return self._tokens[self._at]

    def take(self) -> Token:
        """Take the next token that is not the end of a line; the end of the text stays."""
        token = self.peek()
        if token.shape is not Shape.END:
            self._at += 1
        return token

    def take_line(self) -> Reader:
        """Take the next line that is not empty, as a reader of its own; drop a last ``;``."""
        self.peek()
        begin = self._at
        while self._tokens[self._at].shape not in {Shape.NEWLINE, Shape.END}:
            self._at += 1
        end = self._at
        if end > begin and self._tokens[end - 1].text == ";":
            end -= 1
        tokens = self._tokens[begin:end]
        return Reader(self.source, [*tokens, _end(self._tokens[end], "the end of the line")])

    def split(self, mark: str) -> list[Reader]:
        """Cut what is left at every ``mark``, each part a reader of its own."""
        parts: list[Reader] = []
        part: list[Token] = []
        for token in self._tokens[self._at :]:
            if token.text == mark or token.shape is Shape.END:
                parts.append(Reader(self.source, [*part, _end(token, "the end of the cell")]))
                part = []
            else:
                part.append(token)
        return parts

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self.peek().shape is Shape.END

    def is_next(self, *texts: str) -> bool:
        """Whether the next token is one of these words or marks."""
        token = self.peek()
        return token.shape in {Shape.WORD, Shape.MARK} and token.text in texts

    def take_if(self, text: str) -> Token | None:
        """Take the next token if it is this word or mark."""
        return self.take() if self.is_next(text) else None

    def expect(self, text: str) -> Token:
        """Take this word or mark."""
        if not self.is_next(text):
            raise self.error(self.peek(), f"'{text}'", [text])
        return self.take()

    def expect_end(self, expected: str, right: Iterable[str] = ()) -> None:
        """Refuse anything that is left."""
        if not self.at_end:
            raise self.error(self.peek(), expected, right)

    def word(self, words: Iterable[str], what: str) -> Token:
        """Take one of these words; ``what`` they are ends the error."""
        right = list(words)
        token = self.peek()
        if token.shape is not Shape.WORD or token.text not in right:
            raise self.error(token, f"{what} ({one_of(right)})", right)
        return self.take()

    def name(self, what: str, right: Iterable[str] = ()) -> Token:
        """Take a name of the scenario's own; ``what`` it names ends the error."""
        token = self.peek()
        if token.shape is not Shape.WORD:
            raise self.error(token, what, right)
        if not IDENTIFIER.fullmatch(token.text):
            raise self.error(token, f"{what}: letters, digits and _")
        if token.text in END_WORDS:
            raise self.error(token, what)
        if len(token.text) > NAME_CHARACTERS_MAX:
            raise self.error(token, f"{what} of at most {NAME_CHARACTERS_MAX} characters")
        return self.take()

    def number(self, low: int, high: int, what: str) -> Token:
        """Take a number from ``low`` to ``high``, both included."""
        token = self.peek()
        if token.shape is not Shape.NUMBER:
            raise self.error(token, f"{what} from {low} to {high}")
        if len(token.text) > _DIGITS_MAX or not low <= int(token.text) <= high:
            raise self.error(token, f"{what} from {low} to {high}")
        return self.take()

    def error(self, token: Token, expected: str, right: Iterable[str] = ()) -> ScenarioError:
        """Make the error of a wrong token; ``right`` are the words it may have meant."""
        hint = nearest(token.text, right) if token.shape is Shape.WORD else ""
        return self.fault(token, token.seen, expected, "" if hint == token.text else hint)

    def fault(
        self, token: Token, seen: str, expected: str, nearest_word: str = ""
    ) -> ScenarioError:
        """Make an error at a token that is right by itself, but not here."""
        return ScenarioError(
            self.source, token.span, seen=seen, expected=expected, nearest=nearest_word
        )


def _end(token: Token, seen: str) -> Token:
    """Put an end where a token lies; ``seen`` is what an error calls it."""
    return Token(Shape.END, seen, token.line, token.column)

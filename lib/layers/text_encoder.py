"""Captions as words that see their own phrase and no other (lesson 19).

"small red cone . blue sphere ." asks for two things at once. If its words all saw each other, "red" would change what
"sphere" means, and a picture's answer to one phrase would depend on which others were asked with it. Source: Liu et al.
2023, "Grounding DINO: Marrying DINO with Grounded Pre-Training for Open-Set Object Detection", section 3.4, figure 4.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.layers.position import PositionEmbeddingSine
from lib.layers.transformer import TransformerEncoderLayer

PADDING, UNKNOWN, SEPARATOR = 0, 1, 2  # token numbers; those of words follow


class Text(NamedTuple):
    """B captions of up to T tokens: words, and a separator after each phrase."""

    ids: Tensor  # (B, T) int64, token numbers
    phrases: Tensor  # (B, T) int64, to which phrase of its caption a word belongs, from 0; -1: no word
    hidden: Tensor  # (B, T, T) bool, True where a token does not see another
    places: Tensor  # (B, T) int64, where in its phrase a token stands, from 0

    @property
    def padding(self) -> Tensor:
        """(B, T) bool."""
        return self.ids == PADDING


def split_caption(caption: str) -> list[str]:
    """ "Small red cone. blue sphere" -> ["small red cone", "blue sphere"]."""
    phrases = [" ".join(phrase.lower().split()) for phrase in caption.split(".")]
    return [phrase for phrase in phrases if phrase]


def sub_sentences(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Who sees whom where tokens see their own phrase alone, and where in its phrase each stands.

    A separator belongs to the phrase that it ends. Padding sees itself, so that no softmax is over nothing.

    Equal to transformers' `generate_masks_with_special_tokens_and_transfer_map` but for what its tokenizer adds. There
    [CLS], [SEP], "." and "?" all separate, the first two see themselves alone, and a phrase that ends at the very last
    token is no phrase: its words do not see each other. Whether a last phrase without "." counts so depends on the
    padding. `TextEncoder.tokenize` has neither [CLS] nor [SEP] and ends each phrase with a separator.

    Args:
        ids: (B, T) token numbers; padding at the end.

    Returns:
        (B, T, T) bool, True where the first does not see the second; (B, T) int64, 0 for padding.
    """
    ends, padding, index = ids == SEPARATOR, ids == PADDING, torch.arange(ids.shape[1], device=ids.device)
    number = ends.cumsum(dim=1) - ends.long()  # (B, T): how many phrases ended before this token
    hidden = (number[:, :, None] != number[:, None]) | padding[:, None]  # (B, T, T)
    begins = F.pad(ends[:, :-1], (1, 0))  # (B, T): the token after a separator
    start = torch.where(begins, index, 0).cummax(dim=1).values  # (B, T): where this token's phrase begins
    return hidden & (index[:, None] != index), (index - start).masked_fill(padding, 0)


def whole_captions(ids: Tensor) -> tuple[Tensor, Tensor]:
    """The same where all tokens of a caption see each other, and are numbered from its first to its last."""
    padding, index = ids == PADDING, torch.arange(ids.shape[1], device=ids.device)
    hidden = padding[:, None] & (index[:, None] != index)  # (B, T, T)
    return hidden, index.expand_as(ids).masked_fill(padding, 0)


class TextEncoder(nn.Module):
    """A small transformer over words. The paper's is BERT, which has read books; this one learns with the detector.

    Args:
        words: the vocabulary, small letters. All other words are "unknown": they share a vector that nobody taught.
        dim: D, even. nhead, dim_feedforward: see `TransformerEncoderLayer`. num_layers: may be 0.
        sub_sentence: whether phrases are kept from seeing each other, and places begin anew in each.

    Raises:
        ValueError: a word has capital letters, spaces or dots, or comes twice.
    """

    def __init__(
        self,
        words: tuple[str, ...],
        dim: int,
        nhead: int = 4,
        num_layers: int = 2,
        dim_feedforward: int = 256,
        sub_sentence: bool = True,
    ):
        super().__init__()
        if any(split_caption(word) != [word] or " " in word for word in words) or len(set(words)) < len(words):
            raise ValueError(f"words is {words}; expected small letters, no spaces and dots in each, none twice")
        self.numbers = {word: number for number, word in enumerate(words, SEPARATOR + 1)}
        self.sub_sentence = sub_sentence
        self.word_embed = nn.Embedding(len(words) + SEPARATOR + 1, dim, padding_idx=PADDING)
        self.position = PositionEmbeddingSine(dim)
        layers = (TransformerEncoderLayer(dim, nhead, dim_feedforward, dropout=0.0) for _ in range(num_layers))
        self.layers = nn.ModuleList(layers)

    def tokenize(self, captions: list[str]) -> Text:
        """Captions such as "small red cone . blue sphere ." -> numbers. One without a phrase is one separator.

        Raises:
            ValueError: `captions` is a single text, or empty.
        """
        if isinstance(captions, str) or not captions:
            raise ValueError(f"captions is {captions!r}; expected a list of texts, one for each picture")
        rows, owners = [], []
        for caption in captions:
            row, owner = [], []
            for number, phrase in enumerate(split_caption(caption)):
                known = [self.numbers.get(word, UNKNOWN) for word in phrase.split()]
                row += [*known, SEPARATOR]
                owner += [number] * len(known) + [-1]
            rows.append(torch.tensor(row or [SEPARATOR]))
            owners.append(torch.tensor(owner or [-1]))
        pad = nn.utils.rnn.pad_sequence
        device = self.word_embed.weight.device
        ids = pad(rows, batch_first=True, padding_value=PADDING).to(device)  # (B, T)
        hidden, places = sub_sentences(ids) if self.sub_sentence else whole_captions(ids)
        return Text(ids, pad(owners, batch_first=True, padding_value=-1).to(device), hidden, places)

    def codes(self, text: Text) -> Tensor:
        """The places of tokens as waves (B, T, D).

        The paper's code multiplies places by 2π first, as those in pictures, which are shares and not whole numbers.
        The shortest wave is then the same at all of them.
        """
        return self.position.waves(text.places.to(self.word_embed.weight))

    def forward(self, text: Text) -> Tensor:
        """What each token says, (B, T, D)."""
        x, codes = self.word_embed(text.ids), self.codes(text)
        for layer in self.layers:
            x, _ = layer(x, text.hidden, codes)
        return x

"""Two small alphabets for pixel displays: 5 by 7 and 3 by 5 pixels, capitals, digits and some signs."""

from __future__ import annotations

import unicodedata
from typing import Literal

from PIL import Image

# One character per row, top to bottom; its value's bits are the row's pixels, left to right: base 32 for five, octal for three.
LARGE = {
    "0": "ehjlphe", "1": "4c4444e", "2": "eh168gv", "3": "v2421he", "4": "26aiv22", "5": "vgu11he", "6": "68guhhe",
    "7": "v124888", "8": "ehhehhe", "9": "ehhf12c", "A": "ehhvhhh", "B": "uhhuhhu", "C": "ehggghe", "D": "sihhhis",
    "E": "vgguggv", "F": "vgguggg", "G": "ehgnhhf", "H": "hhhvhhh", "I": "e44444e", "J": "72222ic", "K": "hikokih",
    "L": "ggggggv", "M": "hrllhhh", "N": "hhpljhh", "O": "ehhhhhe", "P": "uhhuggg", "Q": "ehhhlid", "R": "uhhukih",
    "S": "fgge11u", "T": "v444444", "U": "hhhhhhe", "V": "hhhhha4", "W": "hhhllla", "X": "hha4ahh", "Y": "hha4444",
    "Z": "v1248gv", " ": "0000000", ":": "0cc0cc0", ".": "00000cc", ",": "0000c48", "-": "000v000", "!": "4444404",
    "?": "eh12404", "'": "4480000", "/": "01248g0", "+": "044v440", "°": "eae0000", "%": "op248j3", "*": "4le4el4",
    "&": "cik8lid", "(": "2488842", ")": "8422248", "#": "aavavaa", "=": "00v0v00", "<": "248g842", ">": "8421248",
    "$": "4fke5u4", "_": "000000v", '"': "aa00000", "@": "eh1dlle", "|": "4444444", ";": "0cc0c48",
}  # fmt: skip
SMALL = {
    "0": "75557", "1": "26227", "2": "71747", "3": "71317", "4": "55711", "5": "74717", "6": "74757", "7": "71122",
    "8": "75757", "9": "75717", "A": "25755", "B": "65656", "C": "34443", "D": "65556", "E": "74647", "F": "74644",
    "G": "34553", "H": "55755", "I": "72227", "J": "11152", "K": "55655", "L": "44447", "M": "57755", "N": "65555",
    "O": "25552", "P": "65644", "Q": "25563", "R": "65655", "S": "34216", "T": "72222", "U": "55557", "V": "55552",
    "W": "55775", "X": "55255", "Y": "55222", "Z": "71247", " ": "00000", ":": "02020", ".": "00002", ",": "00024",
    "-": "00700", "!": "22202", "?": "61202", "'": "22000", "/": "11244", "+": "02720", "°": "25200", "%": "51245",
    "*": "02720", "(": "12221", ")": "42224", "=": "07070",
}  # fmt: skip

Anchor = Literal["l", "m", "r"]
Colour = str | int


def write(
    image: Image.Image,
    text: str,
    place: tuple[int, int],
    colour: Colour,
    *,
    scale: int = 1,
    small: bool = False,
    anchor: Anchor = "l",
) -> int:
    """Writes one line; returns its width in pixels. `place` is the top of its left end, middle or right end.

    Letters without a picture here lose their accents, become capitals, or a question mark.
    """
    alphabet, columns, base = (SMALL, 3, 8) if small else (LARGE, 5, 32)
    glyphs = [alphabet.get(one, alphabet["?"]) for one in _spelled(text)]
    width = max(0, len(glyphs) * (columns + 1) - 1) * scale
    left = place[0] - {"l": 0, "m": width // 2, "r": width}[anchor]
    for number, glyph in enumerate(glyphs):
        for row, value in enumerate(glyph):
            for column in range(columns):
                if int(value, base) >> (columns - 1 - column) & 1:
                    x, y = left + (number * (columns + 1) + column) * scale, place[1] + row * scale
                    image.paste(colour, (x, y, x + scale, y + scale))
    return width


def _spelled(text: str) -> str:
    bare = (one for one in unicodedata.normalize("NFD", text) if not unicodedata.combining(one))
    return "".join(bare).upper()

"""Draws architecture.svg from architecture.toml: ``make pictures``. A test holds them together."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

HERE = Path(__file__).parent
WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN, TOP = 222, 74, 84, 52, 24, 56
_STYLE = """
  text { font-family: system-ui, sans-serif; fill: #1b2a33; }
  .title { font-size: 18px; font-weight: 600; }
  .name { font-size: 15px; font-weight: 600; }
  .does { font-size: 12px; }
  .place { font-size: 11px; font-family: ui-monospace, monospace; fill: #00695c; }
  .says { font-size: 11px; fill: #546e7a; }
  rect { fill: #f3faf8; stroke: #00897b; stroke-width: 1.4; }
  .arrow { fill: none; stroke: #546e7a; stroke-width: 1.4; marker-end: url(#head); }
"""


def corner(box: dict[str, Any]) -> tuple[int, int]:
    """The upper left corner of a box, in pixels."""
    column, row = box["at"]
    return MARGIN + column * (WIDTH + GAP_X), TOP + row * (HEIGHT + GAP_Y)


def drawn(box: dict[str, Any]) -> str:
    x, y = corner(box)
    lines = ((22, "name", box["title"]), (41, "does", box["does"]), (60, "place", box["place"]))
    texts = (
        f'<text class="{kind}" x="{x + 12}" y="{y + down}">{escape(text)}</text>'
        for down, kind, text in lines
    )
    return f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="8"/>' + "".join(texts)


def arrow(start: dict[str, Any], end: dict[str, Any], says: str) -> str:
    """A straight line between the sides that face each other, with its words beside it."""
    (x1, y1), (x2, y2) = corner(start), corner(end)
    (c1, r1), (c2, r2) = start["at"], end["at"]
    if c1 == c2:
        down = r2 > r1
        x1 = x2 = x1 + WIDTH // 2
        y1, y2 = (y1 + HEIGHT, y2 - 4) if down else (y1, y2 + HEIGHT + 4)
    else:
        right = c2 > c1
        x1, x2 = (x1 + WIDTH, x2 - 4) if right else (x1, x2 + WIDTH + 4)
        y1, y2 = y1 + HEIGHT // 2, y2 + HEIGHT // 2
    line = f'<path class="arrow" d="M{x1} {y1} L{x2} {y2}"/>'
    if not says:
        return line
    at = (x1 + 8, (y1 + y2) // 2 + 4) if c1 == c2 else ((x1 + x2) // 2, (y1 + y2) // 2 - 6)
    anchor = "start" if c1 == c2 else "middle"
    return line + (
        f'<text class="says" x="{at[0]}" y="{at[1]}" text-anchor="{anchor}">{escape(says)}</text>'
    )


def picture(source: dict[str, Any]) -> str:
    """The SVG."""
    boxes = {box["name"]: box for box in source["box"]}
    wide = MARGIN * 2 + (max(b["at"][0] for b in boxes.values()) + 1) * (WIDTH + GAP_X) - GAP_X
    high = TOP + MARGIN + (max(b["at"][1] for b in boxes.values()) + 1) * (HEIGHT + GAP_Y) - GAP_Y
    arrows = [arrow(boxes[a["from"]], boxes[a["to"]], a.get("says", "")) for a in source["arrow"]]
    head = (
        '<marker id="head" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7"'
        ' orient="auto"><path d="M0 0 L8 4 L0 8 z" style="fill:#546e7a;stroke:none"/></marker>'
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" role="img">',
        f"<title>{escape(source['title'])}</title><style>{_STYLE}</style><defs>{head}</defs>",
        f'<rect x="0" y="0" width="{wide}" height="{high}" style="fill:#ffffff;stroke:none"/>',
        f'<text class="title" x="{MARGIN}" y="34">{escape(source["title"])}</text>',
        *arrows,
        *map(drawn, boxes.values()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def main() -> None:
    source = tomllib.loads((HERE / "architecture.toml").read_text(encoding="utf-8"))
    (HERE / "architecture.svg").write_text(picture(source), encoding="utf-8")


if __name__ == "__main__":
    main()

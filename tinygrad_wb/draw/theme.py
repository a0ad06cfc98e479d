"""The colours of pictures, light and dark: told apart by lightness and outline as well as by hue.

The hues are Okabe and Ito's (2008), for the colour-blind; the scale for gradients grows darker (in the dark theme:
lighter) from end to end, so that it reads in grey too.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["THEMES", "Theme", "in_the_dark", "variables"]


class Theme(NamedTuple):
    """The colours of one theme. ``boxes`` are (fill, outline, width of the outline) for each kind of node."""

    ground: str
    ink: str
    faint: str
    gradient: str
    line: str
    accent: str
    layer_ground: str
    layer_line: str
    boxes: dict[str, tuple[str, str, str]]
    scale: tuple[str, ...]
    scale_ink: str


THEMES = {
    "light": Theme(
        ground="#ffffff",
        ink="#1f2933",
        faint="#5d6975",
        gradient="#0b4f8a",
        line="#8a95a1",
        accent="#b0307a",
        layer_ground="#f6f8fa",
        layer_line="#b9c2cc",
        boxes={
            "leaf": ("#d9ecf8", "#56a3d0", "1.2"),
            "constant": ("#f1f2f4", "#c3c9d0", "0.8"),
            "operation": ("#ffffff", "#7b8794", "1.2"),
            "result": ("#fde6bd", "#c77700", "2.2"),
            "layer": ("#e2f2ec", "#0f8a6a", "1.4"),
            "failed": ("#fbe3da", "#c4400f", "2.6"),
            "left out": ("#ffffff", "#7b8794", "1"),
        },
        scale=("#fffbe8", "#feefb8", "#fddc8a", "#fbc163", "#f5a04a", "#e98043"),
        scale_ink="#1f2933",
    ),
    "dark": Theme(
        ground="#14181d",
        ink="#e8ecf1",
        faint="#9ba7b4",
        gradient="#8cc8f5",
        line="#77838f",
        accent="#f08cc8",
        layer_ground="#1a2027",
        layer_line="#4a5662",
        boxes={
            "leaf": ("#17374d", "#4a9fd0", "1.2"),
            "constant": ("#23282f", "#4d5864", "0.8"),
            "operation": ("#1d232a", "#7b8794", "1.2"),
            "result": ("#4a3610", "#e69f00", "2.2"),
            "layer": ("#123a30", "#2bb38d", "1.4"),
            "failed": ("#4d2013", "#f0794a", "2.6"),
            "left out": ("#14181d", "#7b8794", "1"),
        },
        scale=("#2a2412", "#4a3a12", "#6b5112", "#84600f", "#b58418", "#dba024"),
        scale_ink="#14181d",
    ),
}


def variables(theme: str) -> str:
    """The colours that pages use, as a rule of a style sheet."""
    colors = THEMES[theme]
    named = {"ground": colors.ground, "ink": colors.ink, "faint": colors.faint, "accent": colors.accent,
             "line": colors.layer_line, "panel": colors.layer_ground, "gradient": colors.gradient,
             "marked": colors.boxes["result"][0]}  # fmt: skip
    return ":root{" + ";".join(f"--{name}:{color}" for name, color in named.items()) + "}"


def in_the_dark() -> str:
    """The rules that show what was drawn in the light theme in the dark one's colours, where a reader wants that."""
    light, dark = THEMES["light"], THEMES["dark"]
    roles = ("ground", "ink", "faint", "gradient", "line", "accent", "layer_ground", "layer_line")
    rules = [variables("dark")]
    rules += [
        f'svg [{part}="{getattr(light, role)}"]{{{part}:{getattr(dark, role)}}}'
        for role in roles
        for part in ("fill", "stroke")
    ]
    for kind, (fill, line, _) in dark.boxes.items():
        rules.append(f"svg .node.{kind.replace(' ', '-')} path{{fill:{fill};stroke:{line}}}")
    return "@media (prefers-color-scheme: dark){" + "".join(rules) + "}"

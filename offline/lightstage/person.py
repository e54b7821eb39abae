"""Who a synthetic head belongs to: one person's complexion, hair, brows, make-up, eyes and teeth, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from offline.lightstage.texture import RGB
from offline.lightstage.tone import melanin_for

HAIR_COLOURS = (  # black, dark brown, brown, light brown, blond, red, grey
    *((0.011, 0.009, 0.008), (0.026, 0.016, 0.011), (0.058, 0.034, 0.021), (0.115, 0.072, 0.044)),
    *((0.24, 0.165, 0.095), (0.155, 0.062, 0.028), (0.26, 0.245, 0.222)),
)
HAIR_ODDS_PALE = (0.14, 0.26, 0.24, 0.14, 0.11, 0.05, 0.06)
HAIR_ODDS_DARK = (0.62, 0.25, 0.05, 0.01, 0.01, 0.0, 0.06)
IRIS_COLOURS = (  # dark brown, brown, hazel, green, blue, grey
    *((0.03, 0.014, 0.008), (0.075, 0.034, 0.014), (0.13, 0.08, 0.032)),
    *((0.09, 0.1, 0.055), (0.085, 0.13, 0.185), (0.12, 0.14, 0.16)),
)
IRIS_ODDS_PALE = (0.14, 0.22, 0.16, 0.12, 0.24, 0.12)
IRIS_ODDS_DARK = (0.75, 0.23, 0.02, 0.0, 0.0, 0.0)
LIPSTICKS = ((0.42, 0.05, 0.06), (0.27, 0.055, 0.075), (0.5, 0.16, 0.15), (0.45, 0.2, 0.16), (0.2, 0.045, 0.05))
SHADOWS = ((0.12, 0.07, 0.05), (0.07, 0.06, 0.06), (0.3, 0.14, 0.11), (0.16, 0.08, 0.12), (0.09, 0.1, 0.14))


@dataclass(frozen=True)
class Skin:
    """One person's materials. Fractions 0..1 unless said otherwise; colours are linear RGB.

    melanin, blood: volume fractions; yellow: 0..0.15; hairline, recession: cm; age: 0 (20 years) .. 1 (75 years);
    brow_height and brow_arch: cm; scalp, stubble, moustache, beard: how much of the skin the hair covers.
    """

    seed: int
    melanin: float
    blood: float
    yellow: float
    age: float
    mottle: float
    oil: float
    freckles: float
    moles: int
    circles: float
    flush: float
    hair: RGB
    scalp: float
    hairline: float
    recession: float
    brow: RGB
    brow_height: float
    brow_arch: float
    brow_density: float
    stubble: float
    moustache: float
    beard: float
    lip_blood: float
    lipstick: float
    lipstick_rgb: RGB
    liner: float
    shadow: float
    shadow_rgb: RGB
    blush: float
    iris: RGB
    iris_radius: float
    eye_red: float
    teeth_yellow: float


def sample_skin(rng: np.random.Generator) -> Skin:
    """A person at random: lightness of the skin uniform from very dark to very pale, the rest likely for it."""
    blood, lightness = float(rng.uniform(0.02, 0.05)), float(rng.uniform(25.0, 72.0))
    melanin = melanin_for(lightness, blood)
    age, man = float(rng.beta(1.2, 1.5)), bool(rng.random() < 0.55)
    pale = float(np.clip((lightness - 42.0) / 20.0, 0, 1))

    def chance(probability: float, low: float, high: float) -> float:
        return float(rng.uniform(low, high)) if rng.random() < probability else 0.0

    hair = _pick(rng, HAIR_COLOURS, HAIR_ODDS_PALE, HAIR_ODDS_DARK, pale)
    if rng.random() < 0.7 * (age - 0.45):
        hair = HAIR_COLOURS[-1]
    darker = float(rng.uniform(0.45, 0.9)) * (0.5 if hair == HAIR_COLOURS[-1] else 1.0)  # brows grey later
    beard = chance(0.42, 0.35, 0.92) if man else 0.0
    bald = rng.random() < (0.12 + 0.3 * age if man else 0.03)
    made_up = 0.0 if man else 1.0
    return Skin(
        seed=int(rng.integers(2**31)),
        melanin=melanin,
        blood=blood,
        yellow=float(rng.uniform(0.0, 0.035)),
        age=age,
        mottle=float(rng.uniform(0.4, 1.0)),
        oil=float(rng.beta(2, 2)),
        freckles=chance(0.3 * pale + 0.04, 0.15, 0.9),
        moles=int(min(rng.poisson(1.5), 8)),
        circles=float(rng.beta(1.6, 2.4)) * (0.6 + 0.4 * age),
        flush=float(rng.uniform(0.3, 1.0)),
        hair=hair,
        scalp=chance(0.25, 0.1, 0.35) if bald else float(rng.uniform(0.8, 1.0)),
        hairline=float(rng.normal(0, 0.35)),
        recession=float(rng.uniform(0, 1.8)) * (0.25 + 0.75 * age) if man else 0.0,
        brow=(hair[0] * darker, hair[1] * darker * 0.93, hair[2] * darker * 0.87),
        brow_height=float(rng.uniform(0.8, 1.4)) * (1.0 if man else 0.75),
        brow_arch=float(rng.normal(0.0, 0.12)) + (0.0 if man else 0.12),
        brow_density=float(rng.uniform(0.45, 1.0)) * (1.0 - 0.2 * age),
        stubble=chance(0.75, 0.1, 0.55) if man else 0.0,
        moustache=beard * float(rng.uniform(0.6, 1.0)) if beard else chance(0.12 if man else 0.0, 0.4, 0.9),
        beard=beard if rng.random() < 0.8 else 0.0,
        lip_blood=float(rng.uniform(0.5, 1.3)),
        lipstick=chance(0.5 * made_up, 0.3, 0.85),
        lipstick_rgb=LIPSTICKS[int(rng.integers(len(LIPSTICKS)))],
        liner=chance(0.55 * made_up, 0.4, 0.9),
        shadow=chance(0.4 * made_up, 0.15, 0.5),
        shadow_rgb=SHADOWS[int(rng.integers(len(SHADOWS)))],
        blush=chance(0.4 * made_up, 0.2, 0.8),
        iris=_pick(rng, IRIS_COLOURS, IRIS_ODDS_PALE, IRIS_ODDS_DARK, pale),
        iris_radius=float(rng.uniform(0.57, 0.65)),
        eye_red=float(rng.beta(1.5, 3)),
        teeth_yellow=float(rng.beta(2, 3)),
    )


def _pick(
    rng: np.random.Generator, colours: tuple[RGB, ...], pale: tuple[float, ...], dark: tuple[float, ...], mix: float
) -> RGB:
    """One of `colours` by odds between two tables, a little varied."""
    odds = np.asarray(pale) * mix + np.asarray(dark) * (1 - mix)
    r, g, b = np.asarray(colours[int(rng.choice(len(colours), p=odds / odds.sum()))]) * rng.uniform(0.8, 1.25)
    return (float(r), float(g), float(b))

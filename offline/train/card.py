"""The model card that stands beside shipped weights: every number in it was measured."""

from __future__ import annotations

from typing import Any

WHAT = {
    "normals": (
        "F_N",
        "surface normals (camera space) and their expected error",
        "photograph, matte, landmark-fit normals",
    ),
    "albedo": ("F_A", "albedo (sRGB-encoded)", "photograph, matte, normals"),
    "relight": (
        "F_R",
        "what the physical path lacks under any light (nine harmonics of its direction in three colours)",
        "albedo, normals and the nine basis lights' maps with their shadows",
    ),
}
NAMES = {
    "mean": "mean error, degrees",
    "median": "median error, degrees",
    "under_5": "pixels under 5 degrees, %",
    "under_15": "pixels under 15 degrees, %",
    "under_25": "pixels under 25 degrees, %",
    "under_30": "pixels under 30 degrees, %",
    "mean_where_prior": "mean error where landmarks give normals, degrees",
    "prior_mean": "there, of the landmark-fit normals, degrees",
    "expected_mean": "mean error the network expects, degrees",
    "expected_correlation": "correlation of expected and real error",
    "rmse": "RMSE (F_A: sRGB 0..1; F_R: shading by a lamp of colour 1)",
    "scaled_rmse_linear": "RMSE after the best gain, linear 0..1",
    "photograph_rmse": "RMSE of the photograph taken as albedo, sRGB",
    "photograph_scaled_rmse_linear": "the same after the best gain, linear",
    "plain_rmse": "RMSE of the physical path alone",
    "explained": "share of its squared error that is taken away",
}
# What the number to beat is, whether larger is better
BASELINE = {
    "normals": ("mean_where_prior", "prior_mean", False),
    "albedo": ("rmse", "photograph_rmse", False),
    "relight": ("rmse", "plain_rmse", False),
}


def model_card(facts: dict[str, Any], size: int) -> str:
    """Markdown from `Trainer.facts` and the file's bytes."""
    name, gives, needs = WHAT[facts["task"]]
    views = facts["validation"]
    rows = [
        f"| {NAMES.get(k, k)} | " + " | ".join(f"{n[k]:.4g}" for n in views.values()) + " |"
        for k in next(iter(views.values()))
    ]
    lines = [
        f"# {name}: {facts['task']}",
        "",
        f"A U-Net after NARRATE (4.3) that gives {gives} from {needs}.",
        "",
        f"- file: {size / 1e6:.2f} MB, fp16, {facts['parameters'] / 1e6:.2f} M parameters",
        f"- data: {facts['training_samples']} synthetic heads of `offline.lightstage` (USC ICT FaceKit, MIT), "
        f"{facts['lightings']} photograph{'s' * (facts['lightings'] > 1)} of each; no photograph of a person was used",
        f"- training: {facts['steps']} steps of {facts['batch']} at {facts['size']} px, {facts['minutes']} minutes",
        f"- hardware: {facts['hardware']}",
        "",
        f"## Measured on {facts['validation_samples']} heads held out, skin pixels",
        "",
        "`plain`: the stage's picture as it is; `hard`: with training's mishaps (grey, tight crops, noise, JPEG, ...).",
        "",
        "| | " + " | ".join(views) + " |",
        "|---|" + "---|" * len(views),
        *rows,
        "",
        "## Known failures",
        "",
        *failures(facts),
        "",
    ]
    return "\n".join(lines)


def failures(facts: dict[str, Any]) -> list[str]:
    """What the measured numbers themselves say is weak, and what the data cannot have taught."""
    ours, theirs, larger = BASELINE[facts["task"]]
    found = []
    for view, n in facts["validation"].items():
        better = n[ours] > n[theirs] if larger else n[ours] < n[theirs]
        word = "better" if better else "NOT better"
        found.append(f"- {view}: {word} than without it ({n[ours]:.4g} against {n[theirs]:.4g}).")
    if facts["task"] == "normals":
        share = 100 - facts["validation"]["hard"]["under_30"]
        found.append(f"- hard pictures: {share:.1f}% of the skin is off by 30 degrees or more.")
    found.append(
        "- Only synthetic heads were seen: jewellery, tattoos, heavy paint and hands before the face are unknown."
    )
    found.append(
        "- The errors above are of the stage's own heads; those on photographs are measured by `narrate eval`."
    )
    return found

"""The body of a sample character: neck, torso, arms, hands."""

from __future__ import annotations

import numpy as np

from data.drawing.clothes import CLOTHES
from data.drawing.look import Look, chance, pick
from data.drawing.shapes import OTHER, Pen, bezier, darker, ellipse, mirrored, points, ribbon, spline, taper


def draw_neck_and_torso(pen: Pen, look: Look, rng: np.random.Generator) -> None:
    """Bare skin from the neck to the hips, with the shadow of the head."""
    neck = points((0.27, 0.5), (0.28, 1.18), (0.45, 1.45), (0.95, 1.60))
    torso = points((1.12, 1.78), (0.92, 2.3), (0.82, 2.8), (0.66, 3.6), (0.95, 4.8), (1.1, 8.0))
    half = np.concatenate((neck, torso))
    pen.fill(np.concatenate((spline(half), spline(half)[::-1] * (-1.0, 1.0))), look.skin, OTHER)
    pen.shade(ellipse(0.06, 0.92, 0.50, 0.42), look.skin_shadow, OTHER, 0.9)
    for side in (-1.0, 1.0):
        pen.stroke(mirrored(bezier((0.16, 1.66), (0.45, 1.60), (0.8, 1.70), 8), side), 0.04, look.skin_shadow, OTHER)


def arm_path(side: float, pose: str, rng: np.random.Generator) -> np.ndarray:
    """Shoulder, elbow and wrist of an arm -> [3,2]."""
    elbow, wrist = {
        "down": ((1.42, 3.1), (1.40, 4.6)),
        "chest": ((1.55, 2.9), (0.30, 2.35)),
        "front": ((1.40, 3.1), (0.25, 3.75)),
        "wave": ((1.85, 2.6), (1.95, 1.0)),
        "out": ((1.75, 2.8), (2.75, 3.0)),
        "hip": ((2.0, 2.95), (1.0, 4.0)),
    }[pose]
    joints = points((1.0, 1.86), elbow, wrist) + np.vstack((np.zeros((1, 2)), rng.normal(0, 0.07, (2, 2))))
    return mirrored(joints, side)


def draw_hand(pen: Pen, look: Look, elbow: np.ndarray, wrist: np.ndarray) -> None:
    """A small hand that goes on from the forearm: palm, fingers, thumb."""
    ahead = (wrist - elbow) / np.linalg.norm(wrist - elbow)
    across = np.array((-ahead[1], ahead[0]))
    for spread in (-0.5, -0.17, 0.17, 0.5):
        root = wrist + ahead * 0.20 + across * spread * 0.26
        tip = wrist + ahead * (0.56 - 0.10 * abs(spread)) + across * spread * 0.42
        pen.fill(ribbon(bezier(root, (root + tip) / 2, tip, 6), taper("lock", 6) * 0.065 + 0.015), look.skin, OTHER)
    thumb = bezier(wrist + ahead * 0.1, wrist + ahead * 0.22 + across * 0.2, wrist + ahead * 0.36 + across * 0.24, 6)
    pen.fill(ribbon(thumb, taper("lock", 6) * 0.06 + 0.015), look.skin, OTHER)
    palm = ribbon(
        np.linspace(wrist - ahead * 0.08, wrist + ahead * 0.32, 6),
        np.array((0.13, 0.15, 0.17, 0.17, 0.15, 0.09)),
    )
    pen.fill(palm, look.skin, OTHER, line=False)


def draw_arm(pen: Pen, look: Look, joints: np.ndarray, sleeve: str) -> None:
    """Skin of the arm, its hand, and the sleeve over it."""
    spine, widths = arm_shape(joints)
    pen.fill(ribbon(spine, widths), look.skin, OTHER)
    draw_hand(pen, look, joints[1], joints[2])
    if sleeve == "short":
        draw_sleeve(pen, look, spine[:9], widths[:9] + 0.08)
    elif sleeve == "long":
        draw_sleeve(pen, look, spine, widths + np.linspace(0.05, 0.14, len(spine)))


def draw_forearm(pen: Pen, look: Look, joints: np.ndarray, sleeve: str) -> None:
    """A raised arm once more from the elbow on, so that it lies over the hair."""
    spine, widths = arm_shape(joints)
    pen.fill(ribbon(spine[12:], widths[12:]), look.skin, OTHER)
    draw_hand(pen, look, joints[1], joints[2])
    if sleeve == "long":
        draw_sleeve(pen, look, spine[12:], (widths + np.linspace(0.05, 0.14, len(spine)))[12:])


def arm_shape(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spine [25,2] and half widths [25] of an arm with a round shoulder."""
    shoulder, elbow, wrist = joints
    spine = spline(np.stack((shoulder, (shoulder + elbow) / 2, elbow, (elbow + wrist) / 2, wrist)))
    widths = np.linspace(0.27, 0.14, len(spine))
    widths[:4] *= (0.35, 0.72, 0.88, 0.97)
    return spine, widths


def draw_sleeve(pen: Pen, look: Look, spine: np.ndarray, widths: np.ndarray) -> None:
    """A sleeve with a cuff and two folds."""
    pen.fill(ribbon(spine, widths), look.cloth, OTHER)
    pen.fill(ribbon(spine[-2:], widths[-2:] + 0.01), darker(look.cloth, 0.10), OTHER)
    for start in (len(spine) // 3, len(spine) // 2):
        across = ribbon(spine[start : start + 3], np.full(3, 0.22))
        pen.stroke(bezier(across[0], spine[start + 1], across[3], 6), 0.04, darker(look.cloth, 0.22), OTHER, "end")


def choose_arms(rng: np.random.Generator) -> list[tuple[str, np.ndarray]]:
    """The pose and the joints of both arms: alike, or one of them raised."""
    pose = pick(rng, ("down", "down", "front", "out", "hip"))
    poses = [pose, pose]
    if chance(rng, 0.3):
        poses[int(rng.integers(2))] = pick(rng, ("chest", "wave"))
    return [(pose, arm_path(side, pose, rng)) for side, pose in zip((-1.0, 1.0), poses, strict=True)]


def draw_body(pen: Pen, look: Look, rng: np.random.Generator) -> tuple[list[np.ndarray], str]:
    """Neck, torso, arms and clothes; returns the joints of raised arms and the kind of sleeves."""
    wear, sleeves = pick(rng, CLOTHES)
    sleeve = pick(rng, sleeves)
    arms = choose_arms(rng)
    draw_neck_and_torso(pen, look, rng)
    for pose, joints in arms:
        if pose != "front":
            draw_arm(pen, look, joints, sleeve)
    wear(pen, look, rng)
    for pose, joints in arms:
        if pose == "front":
            draw_arm(pen, look, joints, sleeve)
    return [joints for pose, joints in arms if pose in ("chest", "wave")], sleeve

#!/usr/bin/env python3
"""Single steps of Drover's classic envs against Gymnasium's own, from random states under random actions.

    "$(perf/peers/setup)" perf/peers/gymnasium_parity.py [--steps 10000] [--seed 0]

Compiles env/ and env_stepper.c with cc (needs libsleef-dev), sets the same state on both sides, steps once, and
compares. Allowed: state 1e-12 (absolute and relative), observation 1 float32 ulp, reward 1e-6 (absolute and
relative), equal flags. Exits with 1 if anything is beyond that.
"""

import argparse
import ctypes
import pathlib
import platform
import struct
import subprocess
import sys
import tempfile

import gymnasium
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]


def build(folder):
    """The shared object, loaded."""
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-ffp-contract=off", "-fPIC", f"-I{ROOT}"]
    flags += [f"-I{ROOT}/{part}/include" for part in ("runtime", "env")]
    simd = {"lanes4.c": ["-mavx2", "-mfma"], "lanes8.c": ["-mavx512f", "-mfma"]}
    sources = sorted(ROOT.glob("env/classic/*.c")) + sorted(ROOT.glob("env/synthetic/*.c"))
    objects = []
    for source in [*sources, ROOT / "perf/peers/env_stepper.c"]:
        extra = simd.get(source.name, []) if platform.machine() in ("x86_64", "AMD64") else []
        objects.append(f"{folder}/{source.stem}.o")
        subprocess.run(["cc", *flags, *extra, "-c", str(source), "-o", objects[-1]], check=True)
    library = f"{folder}/env_stepper.so"
    subprocess.run(["cc", "-shared", *objects, "-o", library, "-lsleef", "-lm", "-lpthread"], check=True)
    stepper = ctypes.CDLL(library)
    stepper.stepper_find.restype = ctypes.c_void_p
    stepper.stepper_state_size.argtypes = [ctypes.c_void_p]
    stepper.stepper_step.argtypes = [ctypes.c_void_p] * 7
    return stepper


class Env:
    """One Drover env type; `pack` makes its bytes from Gymnasium's state, `unpack` the reverse."""

    pack = staticmethod(lambda state: struct.pack(f"{len(state)}d", *state))

    def __init__(self, stepper, name, num_observations):
        self.stepper = stepper
        self.type = stepper.stepper_find(name.encode())
        self.size = stepper.stepper_state_size(self.type)
        self.observation = np.zeros(num_observations, np.float32)

    unpack = staticmethod(lambda data: struct.unpack(f"{len(data) // 8}d", data))

    def step(self, state, action):
        data = self.pack(state)
        assert len(data) == self.size, (len(data), self.size)
        data = ctypes.create_string_buffer(data, self.size)
        reward = ctypes.c_float()
        flags = [ctypes.c_uint8(), ctypes.c_uint8()]
        failed = self.stepper.stepper_step(
            self.type, ctypes.addressof(data), action.ctypes.data, self.observation.ctypes.data,
            *(ctypes.addressof(x) for x in (reward, *flags)))
        assert not failed, (state, action)
        return self.unpack(data.raw), self.observation, reward.value, bool(flags[0].value), bool(flags[1].value)


class ContinuousCar(Env):
    """Its state is double after a reset and float32 from the first step on, here and there."""

    @staticmethod
    def pack(state):
        return struct.pack("dfi", state[0], state[1], state.dtype == np.float32)

    @staticmethod
    def unpack(data):
        return struct.unpack("dfi", data)[:2]


def uniform(*limits):
    return lambda rng: rng.uniform(-np.array(limits), limits)


def continuous_car_state(rng):
    if rng.random() < 0.2:
        return np.array([rng.uniform(-0.6, -0.4), 0.0])
    return rng.uniform([-1.2, -0.07], [0.6, 0.07]).astype(np.float32)


def discrete(count):
    return lambda rng: np.array([rng.integers(count)], np.int32)


def force(limit):
    return lambda rng: rng.uniform(-limit, limit, 1).astype(np.float32)


# name, class, a random state, a random action (continuous ones reach beyond their bounds)
CASES = [
    ("CartPole-v1", Env, uniform(2.6, 4, 0.25, 4), discrete(2)),
    ("MountainCar-v0", Env, lambda rng: rng.uniform([-1.2, -0.07], [0.6, 0.07]), discrete(3)),
    ("MountainCarContinuous-v0", ContinuousCar, continuous_car_state, force(1.5)),
    ("Pendulum-v1", Env, uniform(50, 8), force(3)),
    ("Acrobot-v1", Env, uniform(np.pi, np.pi, 4 * np.pi, 9 * np.pi), discrete(3)),
]


def off(a, b):
    """The difference where absolute and relative tolerance are the same number."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(np.max(np.abs(a - b) / (1 + np.abs(b))))


def ulps(a, b):
    """How many float32 lie between (numbers of one sign; crossing zero counts both ways)."""
    order = lambda x: np.where(x.view(np.int32) < 0, -(2**31) - x.view(np.int32).astype(np.int64), x.view(np.int32))
    return int(np.max(np.abs(order(a) - order(b))))


def compare(stepper, name, kind, random_state, random_action, steps, rng):
    """The worst differences over all steps."""
    peer = gymnasium.make(name).unwrapped
    peer.reset(seed=0)
    ours = kind(stepper, name, peer.observation_space.shape[0])
    worst = {"state": 0.0, "ulps": 0, "reward": 0.0, "flags": 0, "ended": 0}
    for _ in range(steps):
        state, action = random_state(rng), random_action(rng)
        peer.state = state.copy()
        peer.steps_beyond_terminated = None  # CartPole's: this is a step of a running episode
        want = peer.step(action if action.dtype == np.float32 else int(action[0]))
        got = ours.step(state, action)
        worst["state"] = max(worst["state"], off(got[0], peer.state))
        worst["ulps"] = max(worst["ulps"], ulps(got[1], np.asarray(want[0], np.float32)))
        worst["reward"] = max(worst["reward"], off(got[2], want[1]))
        worst["flags"] += got[3:] != (bool(want[2]), bool(want[3]))
        worst["ended"] += want[2]
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    print(f"Gymnasium {gymnasium.__version__}, NumPy {np.__version__}, Python {platform.python_version()}; "
          f"{options.steps} single steps each, seed {options.seed}; worst differences")
    print(f"{'env':26}{'state':>10}{'obs (ulp)':>11}{'reward':>10}{'flags':>7}{'ended':>8}")
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        stepper = build(folder)
        for name, *case in CASES:
            worst = compare(stepper, name, *case, options.steps, np.random.default_rng(options.seed))
            good = worst["state"] <= 1e-12 and worst["ulps"] <= 1 and worst["reward"] <= 1e-6 and not worst["flags"]
            wrong += not good
            print(f"{name:26}{worst['state']:10.1e}{worst['ulps']:11d}{worst['reward']:10.1e}{worst['flags']:7d}"
                  f"{worst['ended']:8d}  {'ok' if good else 'DIFFERENT'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

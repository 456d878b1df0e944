#!/usr/bin/env python3
"""Drover's MuJoCo envs against Gymnasium's version 5, on the very same MuJoCo.

    "$(perf/peers/mujoco_setup)" perf/peers/mujoco_parity.py [--steps 1000] [--states 100] [--env NAME ...]

1. Compiles env/mujoco and mujoco_stepper.c against the headers and the library of the `mujoco` package.
2. Compares every numeric field of the compiled models (ours is read back from the binary that MuJoCo saves).
3. From each of `states` states (resets, taken over by Gymnasium): `steps` random actions, the same on both sides, on
   past the end of an episode; before each step our env takes Gymnasium's state, warm start included. Allowed: qpos and
   qvel 1e-9 relative, observation (float)Gymnasium's within one float32 ulp, reward and infos 1e-6 (absolute and
   relative), equal flags. A step in which MuJoCo finds a bad state must be a fault of ours.
4. Says how far apart two trajectories are that are never brought together again, after 10, 100 and 1,000 steps.
Exits with 1 if anything is beyond that.
"""

import argparse
import ctypes
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import warnings

import gymnasium
import mujoco
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
STATE = mujoco.mjtState.mjSTATE_INTEGRATION
TASKS = ["InvertedPendulum", "InvertedDoublePendulum", "Reacher", "Pusher", "Swimmer", "Hopper", "HalfCheetah",
         "Walker2d", "Ant", "Humanoid", "HumanoidStandup"]


def build(folder):
    """The shared object, loaded: env/mujoco against the package's MuJoCo."""
    package = pathlib.Path(mujoco.__file__).parent
    library = next(package.glob("libmujoco.so*"))
    subprocess.run(["cmake", f"-DOUT={folder}/models.c", "-P", ROOT / "env/mujoco/embed.cmake"], check=True)
    both = ["-D_GNU_SOURCE", "-DDROVER_MUJOCO", "-O2", "-ffp-contract=off", "-fno-tree-slp-vectorize", "-fPIC",
            f"-I{ROOT}", f"-I{ROOT}/runtime/include", f"-I{ROOT}/env/include", "-isystem", f"{package}/include"]
    sources = [*sorted(ROOT.glob("env/mujoco/*.c")), f"{folder}/models.c", ROOT / "perf/peers/mujoco_stepper.c"]
    out = f"{folder}/mujoco_stepper.so"
    subprocess.run(["c++", "-std=c++17", *both, "-c", ROOT / "env/mujoco/catch.cpp", "-o", f"{folder}/catch.o"],
                   check=True)
    subprocess.run(["cc", "-std=c11", "-shared", *both, *map(str, sources), f"{folder}/catch.o", "-o", out,
                    str(library), f"-Wl,-rpath,{package}", "-lm", "-lpthread", "-lstdc++"], check=True)
    stepper = ctypes.CDLL(out)
    for name, result in (("stepper_open", ctypes.c_void_p), ("stepper_info_name", ctypes.c_char_p)):
        getattr(stepper, name).restype = result
    return stepper


def address(array):
    return ctypes.c_void_p(array.ctypes.data)


class Env:
    """One Drover env."""

    def __init__(self, stepper, name):
        self.call = stepper
        handle = stepper.stepper_open(name.encode())
        if not handle:
            sys.exit(f"{name} cannot be opened")
        self.handle = ctypes.c_void_p(handle)
        sizes = np.zeros(6, np.int32)
        stepper.stepper_sizes(self.handle, address(sizes))
        self.num_observations, self.num_actions, self.num_infos = map(int, sizes[:3])
        self.num_state, self.limit, self.bytes = map(int, sizes[3:])
        self.info_names = [stepper.stepper_info_name(self.handle, i).decode() for i in range(self.num_infos)]
        self.observation = np.zeros(self.num_observations, np.float32)
        self.infos = np.zeros(self.num_infos, np.float32)
        self.reward, self.flags = np.zeros(1, np.float32), np.zeros(2, np.uint8)

    def bounds(self):
        low, high = np.zeros(self.num_actions, np.float32), np.zeros(self.num_actions, np.float32)
        self.call.stepper_bounds(self.handle, address(low), address(high))
        return low, high

    def model(self, folder):
        path = f"{folder}/model.mjb"
        self.call.stepper_save_model(self.handle, path.encode())
        return mujoco.MjModel.from_binary_path(path)

    def reset(self, episode):
        if self.call.stepper_reset(self.handle, ctypes.c_uint64(episode), address(self.observation)):
            sys.exit("a reset failed")

    def state(self):
        out = np.zeros(self.num_state)
        self.call.stepper_get(self.handle, address(out))
        return out

    def set_state(self, place, state):
        both = np.concatenate([place, state])  # has to live through the call
        self.call.stepper_set(self.handle, address(both))

    def qpos_qvel(self, size):
        out = np.zeros(size)
        self.call.stepper_qpos_qvel(self.handle, address(out))
        return out

    def step(self, action):
        return self.call.stepper_step(self.handle, address(action), address(self.observation), address(self.reward),
                                      address(self.flags), address(self.infos))


class Peer:
    """Gymnasium's env, unwrapped."""

    def __init__(self, name):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.env = gymnasium.make(name).unwrapped
        self.model, self.data = self.env.model, self.env.data

    def place(self):
        """Where the movement that is rewarded starts from: as the env's own step will read it."""
        name = type(self.env).__name__
        if name == "AntEnv":
            return self.data.body(self.env._main_body).xpos[:2].copy()
        if name == "HumanoidEnv":
            return gymnasium.envs.mujoco.humanoid_v5.mass_center(self.model, self.data)
        return self.data.qpos[:2].copy()

    def take_over(self, qpos, qvel):
        """Gymnasium's own reset with these numbers in place of its random ones."""
        self.env.reset(seed=0)
        mujoco.mj_resetData(self.model, self.data)
        self.env.set_state(qpos, qvel)
        return self.env._get_obs()

    def state(self):
        out = np.zeros(mujoco.mj_stateSize(self.model, STATE))
        mujoco.mj_getState(self.model, self.data, out, STATE)
        return out

    def qpos_qvel(self):
        return np.concatenate([self.data.qpos, self.data.qvel])


def numeric_fields(thing, prefix=""):
    """Every number and array of numbers in a MuJoCo struct, names as bytes too."""
    for name in dir(thing):
        if name.startswith("_"):
            continue
        try:
            value = getattr(thing, name)
        except Exception:  # properties that need a plugin or a GPU
            continue
        if isinstance(value, (int, float, np.ndarray, np.generic, bytes)):
            yield prefix + name, np.frombuffer(value, np.uint8) if isinstance(value, bytes) else np.asarray(value)
        elif type(value).__module__.startswith("mujoco") and not callable(value) and prefix.count(".") < 3:
            yield from numeric_fields(value, prefix + name + ".")


# Gymnasium enlarges the picture that a model asks for, for its renderer; the signature hashes the XML's structure.
NOT_COMPARED = {"vis.global_.offwidth", "vis.global_.offheight", "signature"}


def different_fields(ours, theirs):
    mine, wanted = dict(numeric_fields(ours)), dict(numeric_fields(theirs))
    names = sorted((set(mine) | set(wanted)) - NOT_COMPARED)
    return len(names), [n for n in names if n not in mine or n not in wanted or not np.array_equal(mine[n], wanted[n])]


def off(a, b):
    """The difference where absolute and relative tolerance are the same number."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(np.max(np.abs(a - b) / (1 + np.abs(b)), initial=0))


def relative(a, b):
    return float(np.max(np.abs(a - b) / np.maximum(np.abs(b), 1e-12), initial=0))


def ulps(a, b):
    order = lambda x: np.where(x.view(np.int32) < 0, -(2**31) - x.view(np.int32).astype(np.int64), x.view(np.int32))
    return int(np.max(np.abs(order(a) - order(b)), initial=0))


def flat_infos(info):
    """Gymnasium's info dictionary with arrays spread out, as our columns are named."""
    flat = {}
    for name, value in info.items():
        if np.ndim(value):
            flat.update({f"{name}_{i}": v for i, v in enumerate(value)})
        else:
            flat[name] = value
    return flat


BAD_STATE = [mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL, mujoco.mjtWarning.mjWARN_BADQACC,
             mujoco.mjtWarning.mjWARN_BADCTRL]


def compare(ours, peer, states, steps, rng):
    """Single steps; the worst differences."""
    low, high = ours.bounds()
    worst = {"state": 0.0, "ulps": 0, "reset_ulps": 0, "reward": 0.0, "infos": 0.0, "flags": 0, "ended": 0, "steps": 0,
             "faults": 0}
    size = peer.model.nq + peer.model.nv
    for episode in range(states):
        ours.reset(episode)
        qpos, qvel = np.split(ours.qpos_qvel(size), [peer.model.nq])
        observation = peer.take_over(qpos, qvel)
        worst["reset_ulps"] = max(worst["reset_ulps"], ulps(ours.observation, observation.astype(np.float32)))
        for _ in range(steps):
            action = rng.uniform(low, high).astype(np.float32)
            ours.set_state(peer.place(), peer.state())
            want = peer.env.step(action)
            bad = any(peer.data.warning[int(w)].number for w in BAD_STATE)
            if bool(ours.step(action)) != bad:
                sys.exit(f"our env {'went on' if bad else 'failed'} where Gymnasium's did not")
            if bad:
                worst["faults"] += 1
                break
            infos = flat_infos(want[4])
            assert set(infos) == set(ours.info_names), (infos, ours.info_names)
            worst["state"] = max(worst["state"], relative(ours.qpos_qvel(size), peer.qpos_qvel()))
            worst["ulps"] = max(worst["ulps"], ulps(ours.observation, want[0].astype(np.float32)))
            worst["reward"] = max(worst["reward"], off(ours.reward[0], want[1]))
            worst["infos"] = max(worst["infos"], off(ours.infos, [infos[n] for n in ours.info_names]))
            worst["flags"] += (bool(ours.flags[0]), bool(ours.flags[1])) != (bool(want[2]), bool(want[3]))
            worst["ended"] += bool(want[2])
            worst["steps"] += 1
    return worst


def drift(ours, peer, rng, marks=(10, 100, 1000)):
    """How far apart qpos and qvel are where nothing brings them together again (absolute plus relative)."""
    low, high = ours.bounds()
    size = peer.model.nq + peer.model.nv
    ours.reset(0)
    qpos, qvel = np.split(ours.qpos_qvel(size), [peer.model.nq])
    peer.take_over(qpos, qvel)
    apart = []
    for step in range(1, max(marks) + 1):
        action = rng.uniform(low, high).astype(np.float32)
        peer.env.step(action)
        if ours.step(action):
            return apart + ["failed"] * (len(marks) - len(apart))
        if step in marks:
            apart.append(f"{off(ours.qpos_qvel(size), peer.qpos_qvel()):.1e}")
    return apart


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000, help="from each state")
    parser.add_argument("--states", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--env", nargs="*", default=TASKS)
    options = parser.parse_args()
    print(f"MuJoCo {mujoco.__version__}, Gymnasium {gymnasium.__version__}, NumPy {np.__version__}, "
          f"Python {platform.python_version()}; {options.states} states, {options.steps} steps from each, "
          f"seed {options.seed}")
    print(f"{'env':26}{'model':>12}{'qpos,qvel':>11}{'obs':>7}{'reset':>7}{'reward':>10}{'infos':>10}{'flags':>7}"
          f"{'steps':>8}{'ended':>8}{'faults':>7}   apart after 10, 100, 1000 steps   bytes/env")
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        stepper = build(folder)
        os.chdir(folder)  # where MuJoCo may log the warnings that Gymnasium's models give
        assert stepper.stepper_mujoco_version() == mujoco.mj_version(), "two MuJoCos are loaded"
        for name in options.env:
            rng = np.random.default_rng(options.seed)
            ours, peer = Env(stepper, name + "-v5"), Peer(name + "-v5")
            low, high = ours.bounds()
            spec = gymnasium.spec(name + "-v5")
            actions = peer.env.action_space
            same = (ours.num_observations == peer.env.observation_space.shape[0]
                    and ours.limit == spec.max_episode_steps
                    and np.array_equal(low, actions.low) and np.array_equal(high, actions.high))
            fields, different = different_fields(ours.model(folder), peer.model)
            worst = compare(ours, peer, options.states, options.steps, rng)
            good = (same and not different and worst["state"] <= 1e-9
                    and max(worst["ulps"], worst["reset_ulps"]) <= 1
                    and max(worst["reward"], worst["infos"]) <= 1e-6 and not worst["flags"])
            wrong += not good
            print(f"{name + '-v5':26}{fields:6d} {'same' if not different else 'DIFF':>5}{worst['state']:11.1e}"
                  f"{worst['ulps']:7d}{worst['reset_ulps']:7d}{worst['reward']:10.1e}{worst['infos']:10.1e}"
                  f"{worst['flags']:7d}{worst['steps']:8d}{worst['ended']:8d}{worst['faults']:7d}   "
                  f"{' '.join(f'{a:>9}' for a in drift(ours, peer, rng)):32}{ours.bytes:12,d}  "
                  f"{'ok' if good else 'DIFFERENT'}", flush=True)
            if different or not same:
                print(f"    fields: {different}; spaces and time limit the same: {same}")
            stepper.stepper_close(ours.handle)
        os.chdir(ROOT)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""Drover's learners by ctypes, for torch_gradients.py and torch_update.py: torch_learner.c compiled and loaded."""

import ctypes
import json
import pathlib
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
ACTIVATIONS = {"relu": 0, "tanh": 1, "elu": 2, "leaky_relu": 3}


class Setup(ctypes.Structure):
    """struct setup of torch_learner.c."""

    _fields_ = [(name, ctypes.c_int32) for name in (
        "num_workers", "num_envs", "num_steps", "observation_size", "num_outputs", "is_discrete", "num_hidden", "width",
        "activation", "shared_values", "normalize_observations", "num_epochs", "num_minibatches",
        "normalize_advantages")] + [(name, ctypes.c_double) for name in (
            "learning_rate", "adam_beta1", "adam_beta2", "adam_epsilon", "clip_range", "value_clip_range", "value_coef",
            "entropy_coef", "max_grad_norm")]


class View(ctypes.Structure):
    """drover_rollout_view of drover/rollout.h."""

    _fields_ = [("size", ctypes.c_size_t)] + [(name, ctypes.c_int32) for name in (
        "num_envs", "num_steps", "num_steps_done", "observation_size", "action_size", "num_infos", "inner_sample_size",
        "shard", "action_kind")] + [(name, ctypes.c_void_p) for name in (
            "observations", "actions", "logprobs", "values", "rewards", "terminated", "truncated", "valid", "infos",
            "inner_samples", "advantages", "returns")] + [
                ("num_episodes", ctypes.c_int64), ("episodes", ctypes.c_void_p), ("final_observations", ctypes.c_void_p),
                ("final_values", ctypes.c_void_p), ("num_faults", ctypes.c_int64), ("faults", ctypes.c_void_p),
                ("fault_texts", ctypes.c_void_p)]


class PpoStats(ctypes.Structure):
    """drover_ppo_stats of drover/ppo.h."""

    _fields_ = [("size", ctypes.c_size_t), ("num_updates", ctypes.c_int64), ("num_epochs", ctypes.c_int32),
                ("num_rows", ctypes.c_int32)] + [(name, ctypes.c_double) for name in (
                    "learning_rate", "policy_loss", "value_loss", "entropy", "approx_kl", "clip_fraction", "grad_norm",
                    "explained_variance", "mean_std", "reward_scale")]


class InnerStats(ctypes.Structure):
    """drover_inner_stats of drover/inner.h."""

    _fields_ = [("size", ctypes.c_size_t), ("num_samples", ctypes.c_int64), ("num_steps", ctypes.c_int64)] + [
        (name, ctypes.c_double) for name in ("loss", "torque_loss", "effort_loss")]


def load(build, folder):
    """The shared object, against the library in the build folder `build`."""
    library = next(pathlib.Path(build).resolve().rglob("libdrover.so"), None)
    if not library:
        sys.exit(f"{build} has no libdrover.so: build the release preset first, or name a build with --build")
    out = f"{folder}/torch_learner.so"
    includes = [f"-I{ROOT}/{part}/include" for part in ("runtime", "env", "policy")]
    subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-fPIC", "-shared", *includes,
                    str(ROOT / "perf/peers/torch_learner.c"), "-o", out, str(library), f"-Wl,-rpath,{library.parent}"],
                   check=True)
    learner = ctypes.CDLL(out)
    learner.learner_error.restype = ctypes.c_char_p
    learner.learner_num_weights.restype = ctypes.c_int64
    learner.learner_update.restype = learner.inner_update.restype = ctypes.c_double
    return learner


def check(learner, failed, what):
    if failed:
        sys.exit(f"{what}: {learner.learner_error().decode()}")


def address(array):
    return ctypes.c_void_p(array.ctypes.data)


def setup(**fields):
    """A Setup of PPO's usual numbers, with these changed."""
    usual = {"num_workers": 0, "num_envs": 64, "num_steps": 128, "observation_size": 17, "num_outputs": 6,
             "num_hidden": 2, "width": 64, "activation": "tanh", "num_epochs": 4, "num_minibatches": 4,
             "normalize_advantages": 1, "learning_rate": 3e-4, "adam_beta1": 0.9, "adam_beta2": 0.999,
             "adam_epsilon": 1e-5, "clip_range": 0.2, "value_coef": 0.5, "max_grad_norm": 0.5} | fields
    usual["activation"] = ACTIVATIONS[usual["activation"]]
    return Setup(**usual)


def rollout(learner):
    """The rollout's rows as arrays, copied: observations, actions, logprobs, values, advantages, returns."""
    view = View()
    check(learner, learner.learner_get_view(ctypes.byref(view)), "view")
    rows = view.num_envs * view.num_steps

    def take(pointer, kind, width):
        flat = np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(kind)), (rows * width,))
        return flat.reshape(rows, width).copy() if width > 1 else flat.copy()

    number = ctypes.c_int32 if view.action_kind == 0 else ctypes.c_float
    return {"observations": take(view.observations, ctypes.c_float, view.observation_size),
            "actions": take(view.actions, number, view.action_size)} | {
                name: take(getattr(view, name), ctypes.c_float, 1)
                for name in ("logprobs", "values", "advantages", "returns")}


def get_weights(learner):
    weights = np.zeros(learner.learner_num_weights(), np.float32)
    check(learner, learner.learner_get_weights(address(weights)), "get_weights")
    return weights


def set_weights(learner, weights):
    check(learner, learner.learner_set_weights(address(weights)), "set_weights")


def saved_weights(learner, folder):
    """The network as Drover writes it to a safetensors file: an array a tensor, by name."""
    path = f"{folder}/weights.safetensors"
    check(learner, learner.learner_save_weights(path.encode()), "save")
    data = pathlib.Path(path).read_bytes()
    length = int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name != "__metadata__":
            begin, end = (8 + length + at for at in entry["data_offsets"])
            tensors[name] = np.frombuffer(data[begin:end], np.float32).reshape(entry["shape"]).copy()
    return tensors

"""verl: importing this registers every objective as a policy loss, `kpo_<name>`.

`actor_rollout_ref.actor.policy_loss._target_=kpo.integrations.verl.PolicyLoss` imports it in every
worker by itself; so does `VERL_USE_EXTERNAL_MODULES=kpo.integrations.verl`.

`python -m kpo.integrations.verl` makes a run of an experiment file one of verl's. It works beside
verl as well as without it, as verl has an environment of its own.
"""

from importlib.util import find_spec

if find_spec("verl") is not None:
    from kpo.integrations.verl.policy_loss import PolicyLoss, register

    __all__ = ["PolicyLoss"]

    register()

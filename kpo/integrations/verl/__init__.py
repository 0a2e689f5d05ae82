"""verl: importing this registers every objective as a policy loss, `kpo_<name>`.

`actor_rollout_ref.actor.policy_loss._target_=kpo.integrations.verl.PolicyLoss` imports it in every
worker by itself; so does `VERL_USE_EXTERNAL_MODULES=kpo.integrations.verl`.
"""

from kpo.integrations.verl.policy_loss import PolicyLoss, register

__all__ = ["PolicyLoss"]

register()

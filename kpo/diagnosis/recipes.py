"""How to get a dump out of a framework: code to copy, as `--help` shows it; tests run it."""

from __future__ import annotations

VERL = """\
# verl 0.9, in RayPPOTrainer.fit, behind self._update_actor(batch): a Parquet file a step (mkdir
# dump first); it takes one more forward pass
import pyarrow as pa, pyarrow.parquet as pq
present, _ = self._compute_old_log_prob(batch)
names = "old_log_probs", "rollout_log_probs", "response_mask", "advantages"
there = {name: batch.batch[name] for name in names if name in batch.batch}
there["log_probs"] = present.batch["old_log_probs"]  # by the weights after the update
dump = {name: list(values.float().cpu().numpy()) for name, values in there.items()}
decode, ids = self.tokenizer.batch_decode, batch.batch["responses"].tolist()
dump["tokens"] = [decode([[token] for token in row]) for row in ids]
dump["step"] = [self.global_steps] * len(dump["tokens"])
dump["use"] = ["later"] * len(dump["tokens"])
pq.write_table(pa.table(dump), f"dump/{self.global_steps:06}.parquet")
"""

TRL = """\
# TRL 1.16: train with this class; a file of JSON lines a process (mkdir dump first); it takes one
# more forward pass
import json, os, torch
from trl import GRPOTrainer

class Dumping(GRPOTrainer):
    def _compute_loss(self, model, inputs):
        if "old_per_token_logps" in inputs:  # else present and old policy are the same
            ids, mask = inputs["completion_ids"], inputs["completion_mask"]
            whole = torch.cat([inputs["prompt_ids"], ids], 1)
            attention = torch.cat([inputs["prompt_mask"], mask], 1)
            with torch.no_grad():
                present, *_ = self._get_per_token_logps_and_entropies(
                    model, whole, attention, ids.shape[1])
            names = "old_per_token_logps", "sampling_per_token_logps", "advantages"
            dump = {name: inputs[name].tolist() for name in names if name in inputs}
            dump["completion_mask"] = (mask * inputs.get("tool_mask", 1)).tolist()
            dump["per_token_logps"] = present.tolist()
            decode = self.processing_class.batch_decode
            dump["tokens"] = [decode([[token] for token in row]) for row in ids.tolist()]
            dump["step"] = [self.state.global_step] * len(ids)
            with open(f"dump/{os.getpid()}.jsonl", "a") as file:
                for cells in zip(*dump.values()):
                    file.write(json.dumps(dict(zip(dump, cells))) + "\\n")
        return super()._compute_loss(model, inputs)
"""

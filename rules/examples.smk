use rule reads_tables as write_prompts with:
    input:
        file=prompt_file,
    output:
        prompts="<results>/prompts/{task}/{shard}.parquet",
    log:
        "<logs>/write_prompts/{task}/{shard}.log",
    params:
        run="studies.common.stage_prompts.write",
        code=prompt_code,
        content=holds(prompt_file),
        cfg=lambda wildcards: stage_cfg(
            "seed",
            task=task_cfg(wildcards.task, "family", "options", "shots"),
            examples=shard_range(wildcards.task, wildcards.shard),
            **some(config["examples"], "held_out_share"),
        ),


use rule runs_model as tokenise_examples with:
    input:
        **MODEL,
        prompts="<results>/prompts/{task}/{shard}.parquet",
    output:
        examples=ensure("<results>/{model}/{task}/examples/{shard}.parquet", non_empty=True),
    log:
        "<logs>/tokenise_examples/{model}/{task}/{shard}.log",
    params:
        **runs("studies.common.stage_examples.tokenise"),
        cfg=lambda wildcards: stage_cfg(
            correct_only=config["examples"]["correct_only"],
            # The head scan takes every valid pair, whatever the model answers.
            count="valid" if wildcards.shard.startswith("scan") else "used",
            **shard_run(wildcards.shard),
            **task_cfg(wildcards.task, "bos", "chat", "accuracy"),
            **shard_quota(wildcards.task, wildcards.shard),
        ),


use rule runs_model as score_examples with:
    input:
        **MODEL,
        examples="<results>/{model}/{task}/examples/{shard}.parquet",
    output:
        scores=ensure("<results>/{model}/{task}/scores/{method}/{shard}.parquet", non_empty=True),
    log:
        "<logs>/score_examples/{model}/{task}/{method}/{shard}.log",
    params:
        run="studies.common.stage_scores.score",
        code=lambda wildcards: code_of("studies.common.stage_scores", METHODS[wildcards.method].module),
        cfg=lambda wildcards: stage_cfg(**shard_run(wildcards.shard), **asked_steps(wildcards.method)),

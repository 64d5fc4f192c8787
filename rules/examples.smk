rule write_prompts:
    input:
        file=prompt_file,
    output:
        prompts="<results>/prompts/{task}/{shard}.parquet",
    log:
        "<logs>/write_prompts/{task}/{shard}.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        cfg=lambda wildcards: stage_cfg(
            "seed",
            task=task_cfg(wildcards.task, "family", "options", "shots"),
            held_out_share=config["examples"]["held_out_share"],
            examples=shard_range(wildcards.task, wildcards.shard),
        ),
        code=prompt_code,
    script:
        "../workflow/scripts/write_prompts.py"


rule tokenise_examples:
    input:
        model=model_inputs,
        about="<results>/{model}/model.json",
        prompts="<results>/prompts/{task}/{shard}.parquet",
    output:
        examples=ensure("<results>/{model}/{task}/examples/{shard}.parquet", non_empty=True),
    log:
        "<logs>/tokenise_examples/{model}/{task}/{shard}.log",
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
    params:
        cfg=lambda wildcards: stage_cfg(
            metric=config["attribution"]["metric"],
            dtype=config["compute"]["dtype"],
            correct_only=config["examples"]["correct_only"],
            # The head scan takes every valid pair, whatever the model answers.
            count="valid" if wildcards.shard.startswith("scan") else "used",
            **task_cfg(wildcards.task, "bos", "chat", "accuracy"),
            **shard_quota(wildcards.task, wildcards.shard),
        ),
        code=code_hash("tokenise_examples.py"),
        compute=compute,
    script:
        "../workflow/scripts/tokenise_examples.py"

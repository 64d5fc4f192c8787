rule run_effects:
    input:
        model=model_inputs,
        about="<results>/{model}/model.json",
        examples=expand("<results>/{{model}}/{{task}}/examples/{shard}.parquet", shard=shards()),
        circuits="<results>/{model}/{task}/circuits/{method}.parquet",
    output:
        # Rows that are still good are kept: a new threshold runs only what is new.
        effects=update("<results>/{model}/{task}/effects/{method}.parquet"),
    log:
        "<logs>/run_effects/{model}/{task}/{method}.log",
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
    params:
        cfg=lambda wildcards: stage_cfg(
            "seed",
            "ablation",
            kinds=config["circuits"]["kinds"],
            metric=config["attribution"]["metric"],
            dtype=config["compute"]["dtype"],
            min_valid=config["examples"]["min_valid"],
            accuracy=task_cfg(wildcards.task)["accuracy"],
        ),
        code=code_hash("run_effects.py"),
        rows_code=code_hash("circuit_reuse/effects.py"),
        compute=compute,
    script:
        "../workflow/scripts/run_effects.py"


rule test_circuits:
    input:
        effects="<results>/{model}/{task}/effects/{method}.parquet",
        circuits="<results>/{model}/{task}/circuits/{method}.parquet",
    output:
        tests="<results>/{model}/{task}/tests/{method}.parquet",
    log:
        "<logs>/test_circuits/{model}/{task}/{method}.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        cfg=stage_cfg(
            "seed",
            permutations=config["tests"]["permutations"],
            bootstrap=config["tests"]["bootstrap"],
        ),
        code=code_hash("test_circuits.py"),
    script:
        "../workflow/scripts/test_circuits.py"


# The shared circuit of every task removed on every task, one job a model.
rule cross_tasks:
    input:
        model=model_inputs,
        about="<results>/{model}/model.json",
        examples=expand(
            "<results>/{{model}}/{task}/examples/{shard}.parquet",
            task=config["tasks"],
            shard=shards(),
        ),
        circuits=expand(
            "<results>/{{model}}/{task}/circuits/{{method}}.parquet",
            task=config["tasks"],
        ),
    output:
        effects=update("<results>/{model}/cross_task/{method}.effects.parquet"),
        table="<results>/{model}/cross_task/{method}.parquet",
    log:
        "<logs>/cross_tasks/{model}/{method}.log",
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
    params:
        cfg=stage_cfg(
            "seed",
            "cross_task",
            "tasks",
            replacement=config["ablation"]["replacement"],
            kinds=config["circuits"]["kinds"],
            metric=config["attribution"]["metric"],
            dtype=config["compute"]["dtype"],
            bootstrap=config["tests"]["bootstrap"],
            accuracy={task: task_cfg(task)["accuracy"] for task in config["tasks"]},
        ),
        code=code_hash("cross_tasks.py"),
        rows_code=code_hash("circuit_reuse/effects.py"),
        compute=compute,
    script:
        "../workflow/scripts/cross_tasks.py"

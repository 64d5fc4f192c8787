rule share_circuits:
    input:
        examples=expand("<results>/{{model}}/{{task}}/examples/{shard}.parquet", shard=shards()),
        scores=expand(
            "<results>/{{model}}/{{task}}/scores/{{method}}/{shard}.parquet",
            shard=shards(),
        ),
    output:
        circuits="<results>/{model}/{task}/circuits/{method}.parquet",
        inclusion="<results>/{model}/{task}/circuits/{method}.inclusion.parquet",
        similarity="<results>/{model}/{task}/circuits/{method}.similarity.parquet",
        families="<results>/{model}/{task}/circuits/{method}.families.parquet",
    log:
        "<logs>/share_circuits/{model}/{task}/{method}.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        cfg=stage_cfg("seed", "circuits", min_valid=config["examples"]["min_valid"]),
        code=code_hash("share_circuits.py"),
    script:
        "../workflow/scripts/share_circuits.py"


# One job a model, because what tasks share generically is part of the null.
rule measure_reuse:
    input:
        examples=expand(
            "<results>/{{model}}/{task}/examples/{shard}.parquet",
            task=config["tasks"],
            shard=shards(),
        ),
        scores=expand(
            "<results>/{{model}}/{task}/scores/{{method}}/{shard}.parquet",
            task=config["tasks"],
            shard=shards(),
        ),
    output:
        reuse="<results>/{model}/reuse/{method}.parquet",
    log:
        "<logs>/measure_reuse/{model}/{method}.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        cfg=stage_cfg(
            "seed",
            "reuse",
            "tasks",
            kinds=config["circuits"]["kinds"],
            top_k=config["circuits"]["top_k"],
            thresholds=config["circuits"]["thresholds"],
        ),
        code=code_hash("measure_reuse.py"),
    script:
        "../workflow/scripts/measure_reuse.py"

//! Templates of published models, and of strangers.

use super::*;
use proptest::prelude::*;
use std::time::{Duration, Instant};

#[test]
fn conversations_become_the_text_that_models_know() {
    let chatml = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe kind<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
    let template = ChatTemplate::new(chatml);
    let asked = template
        .render(&[Message::new("user", "Hi")], true)
        .unwrap();
    assert_eq!(
        asked,
        "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    );
    let turns = [Message::new("system", "S"), Message::new("user", "Hi")];
    let text = template.render(&turns, false).unwrap();
    assert_eq!(
        text,
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    );
    let llama2 = "{{ bos_token }}{% for m in messages %}\n    {%- if m.role == 'user' %}[INST] {{ m.content.strip() | upper }} [/INST]{% endif %}\n{% endfor %}";
    let template = ChatTemplate::new(llama2).tokens("<s>", "</s>");
    assert_eq!(
        template.render(&turns, true).unwrap(),
        "<s>[INST] HI [/INST]"
    );
}

#[test]
fn templates_that_fail_or_never_end_are_errors() {
    let error = |source: &str| {
        ChatTemplate::new(source)
            .render(&[], true)
            .unwrap_err()
            .to_string()
    };
    assert!(
        error("{{ raise_exception('roles must alternate') }}").contains("roles must alternate")
    );
    assert!(error("{% for m in %}").contains("the chat template fails"));
    let endless =
        "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}";
    assert!(error(endless).contains("fuel") || error(endless).contains("fails"));
    let none = ChatTemplate::open("no-such-model").unwrap_err().to_string();
    assert!(
        none.contains("no-such-model has no chat template"),
        "{none}"
    );
}

/// What a template of a stranger says, in a moment.
fn refused(source: &str) -> String {
    let began = Instant::now();
    let said = ChatTemplate::new(source).render(&[Message::new("user", "hi")], true);
    assert!(began.elapsed() < Duration::from_secs(20), "{source}");
    match said {
        Ok(text) => panic!("{source}: {} bytes", text.len()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn values_that_hold_themselves_are_refused() {
    for (make, hold) in [
        ("namespace()", "ns"),
        ("namespace(b=1)", "[ns]"),
        ("namespace()", "{'a': [1, (ns, 2)]}"),
        ("namespace()", "namespace(a=ns)"),
        ("namespace()", "dict(a=ns)"),
    ] {
        for show in [
            "{{ ns }}",
            "{{ ns|tojson }}",
            "{{ ns ~ '' }}",
            "{{ ns == ns.a }}",
            "{{ '%s'|format(ns) }}",
            "",
        ] {
            let source = format!("{{% set ns = {make} %}}{{% set ns.a = {hold} %}}{show}");
            let error = refused(&source);
            assert!(error.contains("namespace"), "{source}: {error}");
        }
    }
    // Handed on by itself, it is what it was.
    let source = "{% set ns = namespace(a=1) %}{% set b = ns %}{% set b.a = 2 %}{{ ns.a }}";
    assert_eq!(ChatTemplate::new(source).render(&[], true).unwrap(), "2");
}

#[test]
fn deep_values_are_refused() {
    for wrap in [
        "[ns.a]",
        "{'a': ns.a}",
        "(ns.a, 1)",
        "dict(a=ns.a)",
        "[[[ns.a]]]",
        "[ns.a] + [1]",
    ] {
        for show in [
            "{{ ns.a }}",
            "{{ ns.a|tojson|length }}",
            "{{ ns.a|string }}",
            "{{ [ns.a, ns.a]|unique|list }}",
            "",
        ] {
            let source = format!(
                "{{% set ns = namespace(a=[]) %}}{{% for i in range(100000) %}}{{% set ns.a = {wrap} %}}{{% endfor %}}{show}"
            );
            let error = refused(&source);
            assert!(error.contains("too deep"), "{wrap} {show}: {error}");
        }
    }
    let macros = "{% macro m(x) %}{{ m([x]) }}{% endmacro %}{{ m(1) }}";
    assert!(refused(macros).contains("fails"));
}

#[test]
fn memory_that_is_not_counted_is_refused() {
    for source in [
        "{{ '{:9999999999}'.format(1) }}",
        "{{ '{:{}}'.format(1, 9999999999) }}",
        "{{ '{:.9999999999f}'.format(1.0) }}",
        "{{ '%9999999999d'|format(1) }}",
        "{{ '%*d'|format(9999999999, 1) }}",
        "{{ ('x' * 10000000000)|length }}",
        "{{ (10000000000 * 'x')|length }}",
        "{{ ([1] * 1000000000)|length }}",
        "{{ (1000000000 * [1])|list|length }}",
        "{{ (('x' * 200) * 1000000)|length }}",
        "{% set ns=namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a=ns.a|chain(ns.a) %}{% endfor %}{{ ns.a|length }}",
        "{% set ns=namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a=ns.a+ns.a %}{% endfor %}{{ ns.a|length }}",
        "{% set ns=namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a=[ns.a, ns.a] %}{% endfor %}{{ ns.a|length }}",
        "{% set ns=namespace(a='x') %}{% for i in range(60) %}{% set ns.a=ns.a ~ ns.a %}{% endfor %}{{ ns.a|length }}",
        "{% macro m(x) %}{{ m(x + x) }}{% endmacro %}{{ m([1]) }}",
        "{% set s = 'x' * 100000 %}{{ s.split('')|length }}{{ [s, s]|join(s)|replace('x', s) }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}",
        "{% set x = 'x' * 1000 %}{% for a in range(90000) %}{{ x }}{% endfor %}",
    ] {
        assert!(refused(source).len() < 600, "{source}");
    }
}

#[test]
fn what_a_template_says_is_cut_and_plain() {
    let error = refused("{{ raise_exception('x' * 1000000) }}");
    assert!(error.len() < 1_000 && error.contains("xxx…"), "{error}");
    let error = refused("{{ raise_exception('a\u{1b}[2Jb\u{9b}c') }}");
    assert!(error.contains(r"a\u{1b}[2Jb\u{9b}c"), "{error}");
    assert!(refused("{{ 1|nothing_of_this_name }}").len() < 600);
    assert!(refused("{% for x in [1] %}{{ loop.cycle() }}{% endfor %}").contains("fails"));
}

#[test]
fn long_sources_do_not_reach_the_parser() {
    for source in [
        format!("{{{{ 1{} }}}}", "+1".repeat(100_000)),
        format!("{{{{ {}1 }}}}", "not ".repeat(60_000)),
        format!("{{{{ messages{} }}}}", ".a".repeat(50_000)),
        format!("{{{{ {}1{} }}}}", "(".repeat(200), ")".repeat(200)),
        format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(9_000)),
    ] {
        assert!(refused(&source).contains("at most") || refused(&source).contains("more than"));
    }
    // What is just short enough is read.
    let source = format!("{{{{ 1{} }}}}", "+1".repeat(450));
    assert_eq!(ChatTemplate::new(&source).render(&[], true).unwrap(), "451");
    let source = format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(450));
    assert_eq!(ChatTemplate::new(&source).render(&[], true).unwrap(), "");
}

#[test]
fn long_conversations_are_read() {
    let turns: Vec<Message> = (0..2_000)
        .map(|i| Message::new(["user", "assistant"][i % 2], &"word ".repeat(200)))
        .collect();
    let source = "{% set ns = namespace(list=[], n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}<{{ m['role'] }}>{{ m.content|trim }}{% endfor %}{{ ns.n }}";
    let text = ChatTemplate::new(source).render(&turns, true).unwrap();
    assert!(text.ends_with(">word word") || text.ends_with("2000"));
}

#[test]
fn json_is_written_as_python_writes_it() {
    let text = |source: &str| ChatTemplate::new(source).render(&[], true).unwrap();
    let value = "{'a': [1, 2.5, 'é\"'], 'b': {}, 'c': none}";
    assert_eq!(
        text(&format!("{{{{ {value}|tojson }}}}")),
        "{\"a\": [1, 2.5, \"é\\\"\"], \"b\": {}, \"c\": null}"
    );
    assert_eq!(
        text("{{ {'a': [1]}|tojson(indent=2) }}"),
        "{\n  \"a\": [\n    1\n  ]\n}"
    );
}

proptest! {
    #[test]
    fn no_source_makes_a_panic(source in r"(\{%|\{\{|%\}|\}\}|[\[\](){}*.,|='a-c1 ~-]|set |for |in |if |endif|macro ){0,40}") {
        let _ = ChatTemplate::new(&source).render(&[], true);
    }
}

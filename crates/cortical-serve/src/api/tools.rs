//! Calls of tools in what a model says, for the families whose form is known.

use serde_json::{Value, json};

/// How a model writes that it calls a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `<tool_call>{"name": …, "arguments": …}</tool_call>`, one after the other or a list in one: Hermes, Qwen,
    /// SmolLM.
    Tagged,
    /// `[TOOL_CALLS][{"name": …, "arguments": …}]`: Mistral.
    Listed,
    /// `{"name": …, "parameters": …}` and nothing else: Llama 3.
    Bare,
}

/// A call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// The arguments as JSON text.
    pub(crate) arguments: String,
}

impl Form {
    /// The form that a chat template asks its model for; `None` for a template that knows no tools, or another form.
    pub(crate) fn of(template: &str) -> Option<Self> {
        if !template.contains("tools") {
            return None;
        }
        if template.contains("<tool_call>") {
            Some(Self::Tagged)
        } else if template.contains("[TOOL_CALLS]") {
            Some(Self::Listed)
        } else if template.contains("<|python_tag|>") || template.contains("\"parameters\"") {
            Some(Self::Bare)
        } else {
            None
        }
    }

    /// What a call begins with.
    fn begins(self) -> &'static [&'static str] {
        match self {
            Self::Tagged => &["<tool_call>"],
            // The mark is a special token, of which the text may show nothing.
            Self::Listed => &["[TOOL_CALLS]", "[{\"name\""],
            Self::Bare => &["<|python_tag|>", "{\"name\"", "{\"type\": \"function\""],
        }
    }

    /// Where calls may begin in a text that goes on: the text before is certain to be none. With `is_whole` nothing
    /// comes any more.
    pub(crate) fn certain(self, text: &str, is_whole: bool) -> usize {
        let found = self.begins().iter().filter_map(|mark| text.find(mark));
        if let Some(at) = found.min() {
            return at;
        }
        if is_whole {
            return text.len();
        }
        let may_begin = |at: &usize| {
            let rest = &text[*at..];
            self.begins().iter().any(|mark| mark.starts_with(rest))
        };
        let mut places = text.char_indices().map(|(at, _)| at);
        places.find(may_begin).unwrap_or(text.len())
    }

    /// What is said beside the calls, and the calls; `None` where the text has none that can be read.
    pub(crate) fn read(self, text: &str) -> Option<(String, Vec<Call>)> {
        let at = self.certain(text, true);
        let (said, rest) = text.split_at(at);
        let mut calls = Vec::new();
        match self {
            Self::Tagged => {
                for part in rest.split("<tool_call>").skip(1) {
                    let inner = part.split("</tool_call>").next().unwrap_or_default();
                    take(&serde_json::from_str(inner.trim()).ok()?, &mut calls)?;
                }
            }
            Self::Listed | Self::Bare => {
                let marks = ["[TOOL_CALLS]", "<|python_tag|>"];
                let mut inner = rest;
                for mark in marks {
                    inner = inner.strip_prefix(mark).unwrap_or(inner);
                }
                let inner = inner.trim().trim_end_matches("<|eom_id|>");
                // Llama writes several one behind the other.
                let values = serde_json::Deserializer::from_str(inner).into_iter::<Value>();
                for value in values {
                    take(&value.ok()?, &mut calls)?;
                }
            }
        }
        (!calls.is_empty()).then(|| (said.trim_end().to_owned(), calls))
    }
}

/// Reads one call or a list of them.
fn take(value: &Value, calls: &mut Vec<Call>) -> Option<()> {
    if let Value::Array(all) = value {
        return all.iter().try_for_each(|one| take(one, calls));
    }
    let function = value.get("function").filter(|inner| inner.is_object());
    let value = function.unwrap_or(value);
    let name = value.get("name")?.as_str()?.to_owned();
    let arguments = value.get("arguments").or_else(|| value.get("parameters"));
    let arguments = match arguments {
        None => "{}".to_owned(),
        // Some write the text of the object.
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    calls.push(Call { name, arguments });
    Some(())
}

/// Calls as an answer has them.
pub(crate) fn values(calls: &[Call], id: &str) -> Vec<Value> {
    let each = calls.iter().enumerate();
    each.map(|(at, call)| {
        json!({
            "index": at,
            "id": format!("call_{id}_{at}"),
            "type": "function",
            "function": { "name": call.name, "arguments": call.arguments },
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_known_by_their_templates() {
        let form = |text: &str| Form::of(&format!("{{% if tools %}}{text}{{% endif %}}"));
        assert_eq!(form("in <tool_call></tool_call> tags"), Some(Form::Tagged));
        assert_eq!(form("[TOOL_CALLS]"), Some(Form::Listed));
        assert_eq!(form("{\"name\": x, \"parameters\": y}"), Some(Form::Bare));
        assert_eq!(form("something else"), None);
        assert_eq!(Form::of("<tool_call>"), None);
    }

    #[test]
    fn calls_are_read_and_other_text_is_said() {
        let call = |name: &str, arguments: &str| Call {
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        };
        let two = vec![call("a", "{\"x\":1}"), call("b", "{}")];
        for (form, text, said) in [
            (
                Form::Tagged,
                "Let me see.\n<tool_call>\n{\"name\": \"a\", \"arguments\": {\"x\": 1}}\n</tool_call>\n<tool_call>{\"name\": \"b\"}</tool_call>",
                "Let me see.",
            ),
            (
                Form::Tagged,
                "<tool_call>[{\"name\": \"a\", \"arguments\": {\"x\": 1}}, {\"name\": \"b\", \"arguments\": {}}]</tool_call>",
                "",
            ),
            (
                Form::Listed,
                "[TOOL_CALLS] [{\"name\": \"a\", \"arguments\": \"{\\\"x\\\":1}\"}, {\"name\": \"b\"}]",
                "",
            ),
            (
                Form::Listed,
                "[{\"name\": \"a\", \"arguments\": {\"x\": 1}}, {\"name\": \"b\"}]",
                "",
            ),
            (
                Form::Bare,
                "{\"name\": \"a\", \"parameters\": {\"x\": 1}} {\"type\": \"function\", \"function\": {\"name\": \"b\"}}",
                "",
            ),
        ] {
            let read = form.read(text);
            assert_eq!(read, Some((said.to_owned(), two.clone())), "{text}");
        }
        for (form, text) in [
            (Form::Tagged, "No call here."),
            (Form::Tagged, "<tool_call>{\"name\": </tool_call>"),
            (Form::Tagged, "<tool_call>{\"nome\": 1}</tool_call>"),
            (Form::Bare, "Is {\"x\": 1} an object?"),
            (Form::Listed, ""),
        ] {
            assert_eq!(form.read(text), None, "{text}");
        }
    }

    #[test]
    fn what_may_begin_a_call_is_held_back() {
        assert_eq!(Form::Tagged.certain("ab <too", false), 3);
        assert_eq!(Form::Tagged.certain("ab <tub", false), 7);
        assert_eq!(Form::Tagged.certain("ab <too", true), 7);
        assert_eq!(Form::Tagged.certain("ab <tool_call>x", false), 3);
    }
}

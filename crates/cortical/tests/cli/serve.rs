//! The server from outside, with a client that knows nothing but sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::language::trained;
use crate::support::{Place, QUICK};

/// A server that ends with the test.
struct Server {
    child: Child,
    address: String,
    _out: BufReader<ChildStdout>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A status and a body.
struct Answer(u16, String);

impl Answer {
    #[track_caller]
    fn json(&self, status: u16) -> Value {
        assert_eq!(self.0, status, "{}", self.1);
        serde_json::from_str(&self.1).unwrap_or_else(|why| panic!("{why}: {}", self.1))
    }

    /// The events of a stream.
    #[track_caller]
    fn events(&self) -> Vec<Value> {
        assert_eq!(self.0, 200, "{}", self.1);
        let mut lines: Vec<&str> = self.1.split("\n\n").filter(|l| !l.is_empty()).collect();
        assert_eq!(lines.pop(), Some("data: [DONE]"));
        let event = |line: &str| serde_json::from_str(line.strip_prefix("data: ").unwrap());
        lines.into_iter().map(|line| event(line).unwrap()).collect()
    }
}

impl Server {
    fn start(place: &Place, line: &str) -> Self {
        let line = format!("serve {line} --port 0 --json --quiet");
        let mut command = place.command(line.split_whitespace());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        out.read_line(&mut first).unwrap();
        let value: Value = serde_json::from_str(&first).unwrap_or_else(|why| {
            let mut said = String::new();
            let _ = child.stderr.take().unwrap().read_to_string(&mut said);
            panic!("{why}: {first} {said}")
        });
        let url = value["url"].as_str().unwrap();
        let address = url.strip_prefix("http://").unwrap().trim_end_matches('/');
        Self {
            address: address.to_owned(),
            child,
            _out: out,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream
    }

    /// Sends a request with these further lines in its head.
    fn send(&self, line: &str, head: &str, body: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        let length = body.len();
        let text = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{head}\r\n"
        );
        stream.write_all(text.as_bytes()).unwrap();
        // A server that refuses the head need not read the body.
        let _ = stream.write_all(body);
        stream
    }

    fn ask(&self, line: &str, head: &str, body: &[u8]) -> Answer {
        answer(self.send(line, head, body))
    }

    fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), "", b"")
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        let head = "Content-Type: application/json\r\n";
        self.ask(&format!("POST {path}"), head, body.to_string().as_bytes())
    }

    /// A number of `/metrics`.
    fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").1;
        let line = text.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("{name}: {text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Waits until a number is as wanted.
    #[track_caller]
    fn wait(&self, name: &str, is_there: impl Fn(f64) -> bool) {
        let began = Instant::now();
        while !is_there(self.metric(name)) {
            assert!(began.elapsed() < Duration::from_secs(60), "{name}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What came back, with pieces put together.
fn answer(mut stream: TcpStream) -> Answer {
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    let all = String::from_utf8_lossy(&all).into_owned();
    let (head, body) = all.split_once("\r\n\r\n").unwrap_or((&all, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let mut text = String::new();
    if head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        let mut rest = body;
        while let Some((size, after)) = rest.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).unwrap_or(0);
            if size == 0 {
                break;
            }
            text += &after[..size];
            rest = &after[size + 2..];
        }
    } else {
        text = body.to_owned();
    }
    Answer(status.unwrap_or(0), text)
}

#[test]
fn texts_are_those_of_generate_whole_and_in_pieces() {
    let place = trained();
    let server = Server::start(&place, "base --together 3");
    let wish = json!({ "prompt": "the white", "max_tokens": 12, "seed": 4, "temperature": 0.9 });
    let got = server.post("/v1/completions", &wish).json(200);
    let said = place
        .command(["generate", "base", "--prompt", "the white"])
        .args("--max-tokens 12 --seed 4 --temperature 0.9 --json".split(' '))
        .output()
        .unwrap();
    let want: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(got["choices"][0]["text"], want["text"]);
    assert_eq!(got["choices"][0]["finish_reason"], "length");
    assert_eq!(got["usage"]["completion_tokens"], 12);
    assert_eq!(got["usage"]["prompt_tokens"], 9);

    let mut streamed = wish.clone();
    streamed["stream"] = true.into();
    streamed["logprobs"] = 2.into();
    streamed["stream_options"] = json!({ "include_usage": true });
    let events = server.post("/v1/completions", &streamed).events();
    let text: String = events
        .iter()
        .filter_map(|event| event["choices"][0]["text"].as_str())
        .collect();
    assert_eq!(want["text"], text);
    assert_eq!(events.last().unwrap()["usage"]["completion_tokens"], 12);
    let first = &events[0]["choices"][0]["logprobs"];
    assert_eq!(first["top_logprobs"][0].as_object().unwrap().len(), 2);
    assert!(first["token_logprobs"][0].as_f64().unwrap() <= 0.0);

    // The same prompt again is known, and has the same text.
    let again = server.post("/v1/completions", &wish).json(200);
    assert_eq!(again["choices"], got["choices"]);
    // A stop string, several prompts and several texts of each.
    let text = want["text"].as_str().unwrap();
    let stop: String = text.chars().skip(3).take(2).collect();
    let mut wish = wish;
    wish["stop"] = json!([stop]);
    let got = server.post("/v1/completions", &wish).json(200);
    let cut = &text[..text.find(&stop).unwrap()];
    assert_eq!(got["choices"][0]["text"], cut);
    assert_eq!(got["choices"][0]["finish_reason"], "stop");
    wish["stop"] = Value::Null;
    wish["prompt"] = json!(["the white", [116, 104]]);
    wish["n"] = 2.into();
    let got = server.post("/v1/completions", &wish).json(200);
    assert_eq!(got["choices"].as_array().unwrap().len(), 4);
    assert_eq!(got["choices"][0]["text"], want["text"]);
    assert_ne!(got["choices"][1]["text"], want["text"]);
    assert!(server.metric("cortical_generated_tokens_total") >= 60.0);
}

#[test]
fn what_is_wrong_is_said_and_the_next_request_works() {
    let place = trained();
    let server = Server::start(&place, "base --max-body 1 --queue 17 --together 1");
    let path = "/v1/completions";
    let error = |answer: Answer, status: u16| -> String {
        let value = answer.json(status);
        value["error"]["message"].as_str().unwrap().to_owned()
    };
    for (body, status, want) in [
        (json!({}), 400, "the field \"prompt\" is missing"),
        (json!([1]), 400, "must be a JSON object"),
        (json!({ "prompt": 3 }), 400, "expected a text, tokens"),
        (json!({ "prompt": "" }), 400, "the prompt has no token"),
        (json!({ "prompt": [70000] }), 400, "70000 is no token"),
        (
            json!({ "prompt": "a", "temprature": 1 }),
            400,
            "\"temprature\" is not known",
        ),
        (
            json!({ "prompt": "a", "temperature": "x" }),
            400,
            "temperature: expected a number",
        ),
        (
            json!({ "prompt": "a", "temperature": -1 }),
            400,
            "temperature must be 0 or more",
        ),
        (
            json!({ "prompt": "a", "max_tokens": 0 }),
            400,
            "max_tokens: expected",
        ),
        (
            json!({ "prompt": "a", "logit_bias": { "1": 2 } }),
            400,
            "logit_bias",
        ),
        (
            json!({ "prompt": "a", "model": "gpt" }),
            404,
            "there is no model \"gpt\"",
        ),
        (
            json!({ "prompt": "x".repeat(3000) }),
            400,
            "the prompt has 3000 tokens",
        ),
    ] {
        let message = error(server.post(path, &body), status);
        assert!(message.contains(want), "{want}: {message}");
    }
    let chat = json!({ "messages": [{ "role": "user", "content": "hello" }] });
    let message = error(server.post("/v1/chat/completions", &chat), 400);
    assert!(message.contains("no chat template"), "{message}");
    let message = error(server.post("/v1/embeddings", &json!({ "input": "a" })), 400);
    assert!(
        message.contains("embeddings are what an encoder makes"),
        "{message}"
    );
    let message = error(server.post("/predict", &json!({})), 400);
    assert!(message.contains("this is a language model"), "{message}");

    let json_head = "Content-Type: application/json\r\n";
    let post = format!("POST {path}");
    let large = vec![b' '; 3 << 20];
    assert_eq!(server.ask(&post, json_head, &large).0, 413);
    assert_eq!(server.ask(&post, json_head, b"{\"prompt\": ").0, 400);
    assert_eq!(server.ask(&post, "", b"{\"prompt\": \"a\"}").0, 415);
    assert_eq!(server.get("/nothing").0, 404);
    assert_eq!(server.get(path).0, 405);
    assert_eq!(server.get("/v1/models/other").0, 404);
    assert_eq!(server.get("/v1/models").json(200)["data"][0]["id"], "base");
    // Another name for this machine, as a stranger's page would have it.
    let mut stream = server.connect();
    stream
        .write_all(b"GET /v1/models HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        .unwrap();
    assert_eq!(answer(stream).0, 403);
    // No HTTP at all, and a connection that says nothing.
    let mut stream = server.connect();
    stream
        .write_all(b"\x16\x03\x01\x00garbage\r\n\r\n")
        .unwrap();
    assert_eq!(answer(stream).0, 400);
    let _silent = server.connect();
    drop(server.connect());
    assert!(
        !server.get("/").1.contains("http"),
        "nothing from elsewhere"
    );

    // One text is written, others wait, and what finds no place is refused; whose client goes is let go.
    let long = |n: u32| json!({ "prompt": "a", "max_tokens": 1000, "n": n, "stream": true });
    let send = |n: u32| server.send(&post, json_head, long(n).to_string().as_bytes());
    let first = send(16);
    server.wait("cortical_active", |n| n == 1.0);
    let second = send(2);
    server.wait("cortical_waiting", |n| n >= 8.0);
    let answer = server.post(path, &long(16));
    assert!(
        answer.0 == 503 && answer.1.contains("queue is full"),
        "{}",
        answer.1
    );
    drop(second);
    server.wait("cortical_abandoned_total", |n| n >= 1.0);
    drop(first);
    server.wait("cortical_active", |n| n == 0.0);
    assert_eq!(server.get("/health").json(200), json!({ "status": "ok" }));
    server
        .post(path, &json!({ "prompt": "a", "max_tokens": 2 }))
        .json(200);
}

#[test]
fn a_key_is_asked_for_and_pages_of_others_are_let_in_only_where_asked_for() {
    let place = trained();
    let line = "base --api-key secret --cors https://example.org";
    let server = Server::start(&place, line);
    let models = |head: &str| server.ask("GET /v1/models", head, b"").0;
    assert_eq!(models(""), 401);
    assert_eq!(models("Authorization: Bearer secret2\r\n"), 401);
    assert_eq!(models("Authorization: Bearer secret\r\n"), 200);
    assert_eq!(server.get("/health").0, 200);
    let origin = |origin: &str| {
        let mut stream = server.connect();
        let head = format!(
            "OPTIONS /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\nOrigin: {origin}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        all.to_ascii_lowercase()
    };
    let let_in = origin("https://example.org");
    assert!(let_in.contains("204") && let_in.contains("allow-origin: https://example.org"));
    assert!(!origin("https://other.example").contains("allow-origin"));
}

#[test]
fn a_classifier_answers_tables() {
    let place = Place::new();
    place.run(QUICK).expect(0);
    let server = Server::start(&place, "runs/iris-001");
    let table =
        "sepal length,sepal width,petal length,petal width\n5.1,3.5,1.4,0.2\n6.3,3.3,6.0,2.5\n";
    place.write("rows.csv", table);
    let want = place
        .run("predict runs/iris-001 rows.csv --json")
        .expect(0)
        .json();
    let csv = "Content-Type: text/csv\r\n";
    let got = server.ask("POST /predict", csv, table.as_bytes()).json(200);
    let rows = got["predictions"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for (got, want) in rows.iter().zip(want["predictions"].as_array().unwrap()) {
        assert_eq!(got["label"], want["label"]);
    }
    let wrong = server.ask("POST /predict", csv, b"a,b\n1,2\n").json(400);
    assert!(wrong["error"]["message"].is_string(), "{wrong}");
    let wrong = server.post("/predict", &json!({})).json(400);
    let message = wrong["error"]["message"].as_str().unwrap();
    assert!(message.contains("must be text/csv"), "{message}");
    let message = server
        .post("/v1/completions", &json!({ "prompt": "a" }))
        .json(400);
    assert!(
        message["error"]["message"]
            .as_str()
            .unwrap()
            .contains("/predict")
    );
}

#[test]
#[cfg(unix)]
fn a_signal_ends_it_when_what_is_under_way_is_answered() {
    let place = trained();
    let mut server = Server::start(&place, "base");
    let wish = json!({ "prompt": "the", "max_tokens": 300, "n": 16, "stream": true });
    let head = "Content-Type: application/json\r\n";
    let under_way = server.send("POST /v1/completions", head, wish.to_string().as_bytes());
    server.wait("cortical_active", |n| n == 1.0);
    let pid = server.child.id().to_string();
    let killed = std::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status();
    assert!(killed.unwrap().success());
    let events = answer(under_way).events();
    let last = &events.last().unwrap()["choices"][0];
    assert_eq!(last["finish_reason"], "length");
    let code = server.child.wait().unwrap().code();
    assert_eq!(code, Some(0));
}

#[test]
fn what_cannot_be_served_says_why() {
    let place = trained();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (line, want) in [
        (format!("serve base --port {port}"), "cannot listen at"),
        ("serve nowhere".to_owned(), "nowhere does not exist"),
        (
            "serve base --context 100000".to_owned(),
            "the model was made for",
        ),
        (
            "serve base --together 0".to_owned(),
            "expected a number from 1 to 1024",
        ),
    ] {
        let said = place.run(&line);
        assert_ne!(said.code, Some(0), "{line}");
        assert!(said.err.contains(want), "{want}: {}", said.err);
    }
}

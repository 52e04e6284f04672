//! A browser without a window, driven over WebDriver; it and its driver end with the test.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use ureq::Agent;

/// Far longer than anything here takes: a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// The browser under each of its names.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// One browser with one tab.
pub(crate) struct Browser {
    driver: Child,
    agent: Agent,
    /// Where commands are sent to; without the session until there is one.
    address: String,
}

impl Browser {
    /// Without a browser this fails: a page that nobody looked at is not tested.
    pub(crate) fn start() -> Self {
        let (driver, browser) = (program(&["chromedriver"]), program(&BROWSERS));
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = driver.stdout.take().unwrap();
        let agent =
            Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).build();
        let mut this = Self { driver, agent: agent.into(), address: String::new() };
        this.address = format!("http://127.0.0.1:{}/session", port(BufReader::new(output)));

        // The sandbox cannot be had by root, and wants more shared memory than containers have.
        let mut arguments = vec!["--headless=new", "--disable-dev-shm-usage", "--hide-scrollbars"];
        if rustix::process::geteuid().is_root() {
            arguments.push("--no-sandbox");
        }
        let session = this.post(
            "",
            &json!({"capabilities": {"alwaysMatch": {
                "browserName": "chrome",
                "goog:chromeOptions": {"binary": browser, "args": arguments},
                "goog:loggingPrefs": {"browser": "ALL"},
            }}}),
        );
        this.address = format!("{}/{}", this.address, session["sessionId"].as_str().unwrap());
        this
    }

    pub(crate) fn open(&self, page: &Path) {
        self.visit(&format!("file://{}", page.display()));
    }

    pub(crate) fn visit(&self, url: &str) {
        self.post("/url", &json!({"url": url}));
    }

    /// Runs the body of a function in the page, and gives what it returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// In pixels, as a telephone or a screen has it.
    pub(crate) fn set_width(&self, width: u32) {
        let metrics = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.developer("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// What a reader has chosen: `light` or `dark`.
    pub(crate) fn prefer(&self, scheme: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.developer("Emulation.setEmulatedMedia", &features);
    }

    /// As it is put on paper by a reader who has chosen `light` or `dark`.
    pub(crate) fn print_from(&self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.developer("Emulation.setEmulatedMedia", &json!({"media": "print", "features": features}));
    }

    /// All of the page as a picture in `target/tmp`.
    pub(crate) fn keep_picture(&self, name: &str) {
        let (width, height) = self.extent();
        let clip = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
        let picture =
            self.developer("Page.captureScreenshot", &json!({"captureBeyondViewport": true, "clip": clip}));
        let bytes = BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png"));
        fs::write(path, bytes).unwrap();
    }

    /// Width and height of all of the page, as soon as it has some: a page that has just been loaded may have no place in its
    /// window yet, and of that no picture can be taken.
    fn extent(&self) -> (f64, f64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = self.developer("Page.getLayoutMetrics", &json!({}));
            let [width, height] =
                ["width", "height"].map(|side| metrics["cssContentSize"][side].as_f64().unwrap());
            if width > 0.0 && height > 0.0 {
                return (width, height);
            }
            assert!(Instant::now() < deadline, "the page stays without a size: {metrics}");
        }
    }

    /// What the browser has written into its console.
    pub(crate) fn console(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({"type": "browser"}));
        entries.as_array().unwrap().iter().map(|entry| entry["message"].to_string()).collect()
    }

    /// A command of the browser's own protocol. While a page takes the place of another there is none that could take it, which
    /// the driver tells as a timeout: then it is asked again.
    fn developer(&self, command: &str, parameters: &Value) -> Value {
        let (path, body) = ("/goog/cdp/execute", json!({"cmd": command, "params": parameters}));
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.ask(path, &body) {
                Ok(value) => return value,
                Err(value) => {
                    let is_between = value.to_string().contains("aborted by navigation");
                    assert!(is_between && Instant::now() < deadline, "{path}: {value}");
                }
            }
        }
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.ask(path, body).unwrap_or_else(|value| panic!("{path}: {value}"))
    }

    fn ask(&self, path: &str, body: &Value) -> Result<Value, Value> {
        let mut response = self.agent.post(format!("{}{path}", self.address)).send_json(body).unwrap();
        let mut answer: Value = response.body_mut().read_json().unwrap();
        let value = answer["value"].take();
        if response.status().is_success() { Ok(value) } else { Err(value) }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser; killed alone, the driver would leave it behind.
        let _ = self.agent.delete(&self.address).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// The first of these that is to be found.
fn program(names: &[&str]) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = names.iter().flat_map(|name| env::split_paths(&path).map(move |folder| folder.join(name)));
    found.into_iter().find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("{} is not in PATH; the page is tested in a real browser: apt-get install chromium chromium-driver", names[0])
    })
}

/// The port that the driver was given, which it says when it is ready.
fn port(output: impl BufRead + Send + 'static) -> u16 {
    let (send, said) = channel();
    // To the end: a driver that cannot write stops.
    thread::spawn(move || output.lines().map_while(Result::ok).for_each(|line| drop(send.send(line))));
    loop {
        let line = said.recv_timeout(PATIENCE).expect("chromedriver did not say its port");
        if let Some((_, port)) = line.rsplit_once("started successfully on port ") {
            return port.trim_end_matches('.').parse().expect("a port");
        }
    }
}

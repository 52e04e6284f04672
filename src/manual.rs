//! Manual: the man pages, made from the definitions of the command line and of the keys. Pure.

use clap::Command;
use clap_mangen::Man;
use roff::{Roff, bold, italic, roman};

use crate::config::keys::{Preset, SECTIONS};

/// One page.
#[derive(Debug)]
pub struct Page {
    /// Its file, such as `ringway.1`.
    pub name: String,
    /// As man(1) reads it.
    pub text: String,
}

const EXIT_STATUS: &[(&str, &str)] = &[
    ("0", "Stopped as asked; or, of a command that only looks, all is well."),
    (
        "1",
        "Could not start, or could not go on; of a command for a running one: refused, not found, or not so in time. \
         Standard error says why, and what to do.",
    ),
    ("2", "The flags or the configuration are wrong."),
    ("3", "The kernel does not offer io_uring to this process."),
    ("4", "Of a command for a running one: no ringway answers there, or its socket is not for this user."),
    ("5", "Of ringway status --check: it answers, and clients should go elsewhere."),
    ("128 + signal", "A second signal ended it before the drain was over."),
];

const SIGNALS: &[(&str, &str)] = &[
    (
        "SIGTERM, SIGINT",
        "Nobody is accepted any more; running sessions go on for up to server.drain_timeout and are reset then. A second \
         one resets them at once.",
    ),
    (
        "SIGHUP",
        "The file is read again. A wrong one is refused whole, with every mistake in the log; else backends, weights, \
         algorithms, checks, timeouts, limits and listeners change without a session cut. The file of the access log is opened \
         anew. Without a file (flags alone) all goes on, or, if it was started from a terminal, it is the same as SIGTERM.",
    ),
    ("SIGUSR1", "Prints the table of backends, the totals and the last decisions on standard output."),
    (
        "SIGUSR2",
        "Starts the program anew, as it is on the disk now, and gives it the listening sockets while this process serves. \
         No connection is lost; if the new process is not ready within server.upgrade_timeout, everything stays as it is.",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("NOTIFY_SOCKET", "Where the service manager is told READY, STATUS and STOPPING (sd_notify(3))."),
    (
        "WATCHDOG_USEC, WATCHDOG_PID",
        "Signs of life are sent at half of this time while every worker moves. A worker that has not for two seconds is \
         logged with its number.",
    ),
    (
        "LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES",
        "Sockets that the service manager has opened (sd_listen_fds(3)). Each serves the listener that has its address.",
    ),
];

const FILES: &[(&str, &str)] = &[
    ("/etc/ringway/ringway.toml", "The configuration, where a package was installed; see ringway.toml(5)."),
    ("/usr/lib/systemd/system/ringway.service", "The unit of the package."),
    ("/usr/share/doc/ringway/", "Examples: a configuration with every key, a socket unit."),
];

/// Every page: of the command, of each of its subcommands, and of the file.
pub fn pages(command: &Command) -> Vec<Page> {
    let mut command = command.clone();
    command.build();
    let subcommands = command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help");
    let subcommands = subcommands.map(|subcommand| Page {
        name: format!("ringway-{}.1", subcommand.get_name()),
        text: subcommand_page(subcommand),
    });
    let main = Page { name: "ringway.1".into(), text: main_page(&command) };
    let file = Page { name: "ringway.toml.5".into(), text: file_page() };
    [main].into_iter().chain(subcommands).chain([file]).collect()
}

fn main_page(command: &Command) -> String {
    let mut page = head(&Man::new(command.clone()), command);
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    let subcommands = command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help");
    for subcommand in subcommands {
        let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
        let name = subcommand.get_name();
        roff.control("TP", []).text([bold(name)]).text([roman(format!("{about}; see ringway-{name}(1)."))]);
    }
    list(&mut roff, "EXIT STATUS", EXIT_STATUS);
    list(&mut roff, "SIGNALS", SIGNALS);
    list(&mut roff, "ENVIRONMENT", ENVIRONMENT);
    list(&mut roff, "FILES", FILES);
    as_written(&mut roff, command);
    roff.control("SH", ["SEE ALSO"]).text([roman("ringway.toml(5), systemd.service(5), systemd.socket(5)")]);
    page += &roff.to_roff();
    page
}

fn subcommand_page(command: &Command) -> String {
    let name = format!("ringway-{}", command.get_name());
    let man = Man::new(command.clone().display_name(&name)).title(&name).source(version());
    let mut page = head(&man, command);
    page += &rendered(|out| man.render_options_section(out));
    let mut roff = Roff::new();
    as_written(&mut roff, command);
    roff.control("SH", ["SEE ALSO"]).text([roman("ringway(1), ringway.toml(5)")]);
    page += &roff.to_roff();
    page
}

fn file_page() -> String {
    let mut roff = Roff::new();
    roff.control("TH", ["ringway.toml", "5", "", version().as_str()]);
    roff.control("SH", ["NAME"]).text([roman("ringway.toml - the configuration of ringway")]);
    roff.control("SH", ["DESCRIPTION"]).text([roman(
        "One TOML file: listeners accept clients at their addresses and hand each to their pool, which chooses one of its \
         backends. Times and sizes are texts with a unit (\"2s\", \"16KiB\"), addresses are \"ip:port\" or \"[ip]:port\". A key \
         that does not exist is refused. ringway check --config FILE prints what is understood, or every mistake.",
    )]);
    for section in SECTIONS {
        roff.control("SH", [section.header]);
        for key in section.keys {
            roff.control("TP", []).text([bold(key.name), roman(" = "), italic(key.kind.range())]);
            roff.text([roman(format!("{}.", key.meaning))]);
            let default = match key.default {
                Preset::Required => "It has to be given.".to_owned(),
                Preset::Is(_) | Preset::Follows(_) => format!("Default: {}.", key.default.text()),
            };
            roff.control("br", []).text([roman(default)]);
        }
    }
    roff.control("SH", ["SEE ALSO"]).text([roman("ringway(1), ringway-check(1)")]);
    roff.to_roff()
}

fn version() -> String {
    format!("ringway {}", env!("CARGO_PKG_VERSION"))
}

/// What clap knows how to write, and how the command is used as its help says it.
fn head(man: &Man, command: &Command) -> String {
    let mut head = rendered(|out| man.render_title(out));
    head += &rendered(|out| man.render_name_section(out));
    let mut roff = Roff::new();
    let usage = command.clone().render_usage().to_string();
    roff.control("SH", ["SYNOPSIS"]).control("nf", []);
    for line in usage.trim_start_matches("Usage:").lines() {
        roff.text([roman(line.trim_start())]);
    }
    roff.control("fi", []);
    head += &roff.to_roff();
    head += &rendered(|out| man.render_description_section(out));
    head
}

fn rendered(render: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>) -> String {
    let mut bytes = Vec::new();
    render(&mut bytes).expect("memory can be written to");
    String::from_utf8(bytes).expect("it is made of texts")
}

fn list(roff: &mut Roff, heading: &str, rows: &[(&str, &str)]) {
    roff.control("SH", [heading]);
    for (term, meaning) in rows {
        roff.control("TP", []).text([bold(*term)]).text([roman(*meaning)]);
    }
}

/// What stands below the help: examples and tables line by line, sentences as wide as the reader's terminal.
fn as_written(roff: &mut Roff, command: &Command) {
    let Some(text) = command.get_after_help().map(ToString::to_string) else { return };
    roff.control("SH", ["EXAMPLES"]).control("nf", []);
    for line in text.trim_start_matches("Examples:").trim_start_matches('\n').lines() {
        let is_sentence = line.contains(' ') && !line.starts_with(' ') && !line.ends_with(':');
        if is_sentence {
            roff.control("fi", []);
        }
        roff.text([roman(line)]);
        if is_sentence {
            roff.control("nf", []);
        }
    }
    roff.control("fi", []);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::SERVER;

    fn command() -> Command {
        Command::new("ringway")
            .version("1.2.3")
            .about("Balances")
            .after_help("Examples:\n  ringway go --fast 1\n\nMore:\n  .dots and -dashes")
            .subcommand(
                Command::new("go")
                    .about("Goes")
                    .arg(clap::Arg::new("fast").long("fast").help("How fast it goes")),
            )
    }

    fn page(name: &str) -> String {
        let pages = pages(&command());
        pages.into_iter().find(|page| page.name == name).unwrap_or_else(|| panic!("{name}")).text
    }

    #[test]
    fn the_first_page_has_what_an_operator_looks_for() {
        let text = page("ringway.1");
        assert!(text.contains(".TH ringway 1"), "{text}");
        for heading in
            ["NAME", "SYNOPSIS", "COMMANDS", "EXIT STATUS", "SIGNALS", "ENVIRONMENT", "FILES", "EXAMPLES"]
        {
            let line = |line: &str| line.strip_prefix(".SH ").map(|rest| rest.trim_matches('"') == heading);
            assert_eq!(text.lines().filter_map(line).filter(|is_it| *is_it).count(), 1, "{heading}: {text}");
        }
        assert!(text.contains(r"Goes; see ringway\-go(1)."), "{text}");
        assert!(text.contains("SIGUSR1"));
    }

    #[test]
    fn examples_stand_as_they_are_written_and_no_line_is_taken_for_a_request() {
        let text = page("ringway.1");
        let body = text.split(".SH EXAMPLES\n.nf\n").nth(1).unwrap().split(".fi").next().unwrap();
        assert!(body.contains(r"  ringway go \-\-fast 1"), "{body}");
        assert!(body.lines().all(|line| !line.starts_with('.')), "{body}");
    }

    #[test]
    fn each_command_has_a_page_with_its_flags() {
        let text = page("ringway-go.1");
        assert!(text.contains("How fast it goes"), "{text}");
        assert!(text.contains(".SH SYNOPSIS\n.nf\nringway go [OPTIONS]\n.fi"), "{text}");
        assert!(text.contains(".TH ringway-go 1"), "{text}");
    }

    #[test]
    fn the_page_of_the_file_has_every_key() {
        let text = page("ringway.toml.5");
        for section in SECTIONS {
            assert!(text.contains(section.path.rsplit('.').next().unwrap()), "{}", section.path);
        }
        let keys = SECTIONS.iter().flat_map(|section| section.keys);
        assert!(keys.clone().count() > 30);
        for key in keys {
            assert!(text.contains(&format!("\\fB{}\\fR", key.name)), "{}", key.name);
        }
        assert!(text.contains("Default: 30s."));
        assert!(SERVER.key("user").is_some());
    }
}

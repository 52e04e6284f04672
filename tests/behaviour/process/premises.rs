//! What a file wants and the machine does not have, and what no machine has: told by `check`, the start and a reload alike.

use ringway::control::Refused;
use ringway::server::Server;
use ringway::{config::Source, premises};

use super::*;

/// Runs and checks a file with these listeners; what both say, without the name of the file, with their exit status.
fn run_and_check(listeners: &str) -> [(Option<i32>, Vec<String>); 2] {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ringway.toml");
    fs::write(&file, with_pool(listeners)).unwrap();
    ["run", "check"].map(|how| {
        let mut command = ringway();
        command.args([how, "--config"]).arg(&file);
        let (status, errors, _) = outcome(command);
        let name = format!("{}:", file.display());
        (status.code(), errors.lines().map(|line| line.replace(&name, "")).collect())
    })
}

fn with_pool(listeners: &str) -> String {
    format!(
        "{listeners}\n[[pool]]\nname = 'p'\n[pool.health]\ncheck = 'none'\n[[pool.backend]]\naddress = '127.0.0.1:9'\n"
    )
}

#[test]
fn what_the_machine_does_not_have_ends_the_start_with_status_2_and_its_line() {
    let listener = "[[listener]]\nname = 'a'\nbind = ['127.0.0.1:0', 'unix:@ringway-premises']\npool = 'p'\n\
                    [listener.socket]\nuser = 'nobody-of-this-name'\ndevice = 'nowhere0'\n\
                    [listener.access]\ndeny_files = '/nowhere/list'";
    let admin = "[admin]\nbind = '127.0.0.1:0'\ntoken_file = '/nowhere/token'";
    let [run, check] = run_and_check(&format!("{admin}\n{listener}"));
    assert_eq!(run, check);
    let starts = [
        "3: admin.token_file: the token cannot be had from /nowhere/token: there is no such file; make one: openssl",
        "9: listener.socket.user in listener \"a\": there is no user \"nobody-of-this-name\"",
        "10: listener.socket.device in listener \"a\": there is no interface \"nowhere0\"",
        "12: listener.access.deny_files in listener \"a\": /nowhere/list: there is no such list of networks",
    ];
    assert_eq!((run.0, run.1.len()), (Some(2), starts.len()), "{run:?}");
    for (line, start) in run.1.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
}

/// The kernel is asked here too, that the words stay true.
#[test]
fn an_address_within_another_is_a_mistake_wherever_the_file_is_read() {
    let first = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = first.local_addr().unwrap().port();
    assert!(std::net::TcpListener::bind(("127.0.0.1", port)).is_err());
    drop(first);
    let listener =
        |name: &str, bind: &str| format!("[[listener]]\nname = '{name}'\nbind = '{bind}'\npool = 'p'\n");
    let one = listener("one", &format!("127.0.0.1:{port}"));
    let both = one.clone() + &listener("all", &format!("0.0.0.0:{port}"));
    for protocol in ["", "protocol = 'udp'\n"] {
        let both = both.replace("pool = 'p'\n", &format!("pool = 'p'\n{protocol}"));
        let [run, check] = run_and_check(&both);
        assert_eq!(run, check);
        assert_eq!((run.0, run.1.len()), (Some(2), 1), "{run:?}");
        assert!(run.1[0].contains("the kernel does not let anybody have both"), "{run:?}");
        assert!(!run.1[0].contains("another process"), "{run:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ringway.toml");
    fs::write(&file, with_pool(&one.replace(&port.to_string(), "0"))).unwrap();
    let mut server =
        Server::start_from(Source::File(file.clone()), premises::load(&file).unwrap().0, 0).unwrap();
    fs::write(&file, with_pool(&both)).unwrap();
    for outcome in [server.control().plan(), server.control().reload()] {
        match outcome {
            Err(Refused::Wrong(errors)) => assert_eq!(errors.total(), 1, "{errors}"),
            other => panic!("{other:?}"),
        }
    }
    server.drain(DEADLINE, || None).unwrap();
}

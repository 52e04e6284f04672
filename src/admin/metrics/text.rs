//! Text: OpenMetrics as the older format of Prometheus, which differs in a few lines. Pure.

/// In the older format a counter is called by all of its name, and there is no end.
pub(super) fn as_prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len() + open_metrics.len() / 32);
    let mut help: Option<(&str, &str)> = None;
    let describe = |text: &mut String, what: &str, name: &str, suffix: &str, words: &str| {
        *text += &format!("# {what} {name}{suffix} {words}\n");
    };
    for line in open_metrics.lines() {
        if let Some((name, words)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            // Told when it is known whether this is a counter.
            help = Some((name, words));
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((name, words)) = help.take() {
                describe(&mut text, "HELP", name, suffix, words);
            }
            describe(&mut text, "TYPE", name, suffix, kind);
        } else if !line.starts_with("# ") {
            text += line;
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_called_by_all_of_their_name() {
        let open = "# HELP a_bytes what is carried\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\na_bytes_total{x=\"# \"} 1\n\
                    # HELP b now\n# TYPE b gauge\nb 2\n# EOF\n";
        let expected = "# HELP a_bytes_total what is carried\n# TYPE a_bytes_total counter\na_bytes_total{x=\"# \"} 1\n\
                        # HELP b now\n# TYPE b gauge\nb 2\n";
        assert_eq!(as_prometheus(open), expected);
    }
}

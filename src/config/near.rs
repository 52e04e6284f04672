//! The word that was probably meant.

/// Longer texts are no slips of the finger, and comparing them takes time.
const CHARS_MAX: usize = 64;

/// The one of `words` that is nearest to what was typed, if any is near enough to be meant.
pub(super) fn near<'w>(typed: &str, words: impl IntoIterator<Item = &'w str>) -> Option<String> {
    if typed.chars().nth(CHARS_MAX).is_some() {
        return None;
    }
    let typed = typed.to_lowercase().replace('-', "_");
    let distance = |word: &str| strsim::damerau_levenshtein(&typed, &word.to_lowercase().replace('-', "_"));
    let (distance, word) = words.into_iter().map(|word| (distance(word), word)).min_by_key(|&(d, _)| d)?;
    (distance <= slips_allowed(word)).then(|| word.to_owned())
}

/// One slip in a short word, two in most, three in a long one.
fn slips_allowed(word: &str) -> usize {
    match word.chars().count() {
        0..=2 => 0,
        3..=4 => 1,
        5..=9 => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_forgiven_and_other_words_are_not() {
        let words = ["round-robin", "weight", "tcp", "connect_timeout"];
        let meant = |typed| near(typed, words);
        assert_eq!(meant("round_robin").as_deref(), Some("round-robin"));
        assert_eq!(meant("wieght").as_deref(), Some("weight"));
        assert_eq!(meant("weightss").as_deref(), Some("weight"));
        assert_eq!(meant("TCP").as_deref(), Some("tcp"));
        assert_eq!(meant("timeout_connect"), None);
        assert_eq!(meant("udp"), None);
        assert_eq!(meant(""), None);
        assert_eq!(meant(&"weight".repeat(1_000_000)), None);
    }
}

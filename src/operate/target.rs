//! Target: a backend as it is typed, `POOL/BACKEND`, or its name alone where only one pool has it.

use super::door::{Door, part};
use super::failure::Failure;
use crate::admin::shapes::Pool;

/// One backend of one pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) pool: String,
    pub(super) backend: String,
}

/// Pool and backend, if both are given. What has a colon is no pool: a backend can be called `unix:/run/app.sock`.
pub(super) fn parts(typed: &str) -> Result<Option<(&str, &str)>, Failure> {
    match typed.split_once('/').filter(|(pool, _)| !pool.contains(':')) {
        Some((pool, backend)) if pool.is_empty() || backend.is_empty() => {
            Err(Failure::Wrong(format!("{typed:?}: write POOL/BACKEND, such as web/a")))
        }
        parts => Ok(parts),
    }
}

impl Target {
    /// The one that is meant. What has a slash is taken at its word, and the API says whether there is such a backend.
    pub(super) fn find(door: &Door, typed: &str) -> Result<Target, Failure> {
        match parts(typed)? {
            Some((pool, backend)) => Ok(Target { pool: pool.to_owned(), backend: backend.to_owned() }),
            None => Target::among(&door.read::<Vec<Pool>>("/api/v1/pools")?, typed),
        }
    }

    fn among(pools: &[Pool], name: &str) -> Result<Target, Failure> {
        let with_it = pools.iter().filter(|pool| pool.backends.iter().any(|backend| backend.name == name));
        let found: Vec<Target> =
            with_it.map(|pool| Target { pool: pool.name.clone(), backend: name.to_owned() }).collect();
        match found.as_slice() {
            [one] => Ok(one.clone()),
            [] => {
                let pools: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
                Err(Failure::NotFound(format!(
                    "no pool has a backend {name:?}; the pools are {}; see `ringway backends`",
                    pools.join(", ")
                )))
            }
            several => {
                let shown: Vec<String> = several.iter().map(Target::shown).collect();
                Err(Failure::NotFound(format!("{name:?} is in several pools: write {}", shown.join(" or "))))
            }
        }
    }

    /// As it is typed.
    pub(super) fn shown(&self) -> String {
        format!("{}/{}", self.pool, self.backend)
    }

    /// Where the API has it.
    pub(super) fn path(&self) -> String {
        format!("/api/v1/pools/{}/backends/{}", part(&self.pool), part(&self.backend))
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_name_alone_is_enough_where_only_one_pool_has_it() {
        let pools = [sample::pool("web", &["a", "b"]), sample::pool("db", &["b"])];
        let found = Target::among(&pools, "a").unwrap();
        assert_eq!((found.shown(), found.path()), ("web/a".into(), "/api/v1/pools/web/backends/a".into()));
        let several = Target::among(&pools, "b").unwrap_err().to_string();
        assert_eq!(several, "\"b\" is in several pools: write web/b or db/b");
        let none = Target::among(&pools, "c").unwrap_err().to_string();
        assert!(none.contains("the pools are web, db"), "{none}");
    }

    #[test]
    fn an_address_is_a_name_too() {
        let target = Target { pool: "web".into(), backend: "[::1]:80".into() };
        assert_eq!(target.path(), "/api/v1/pools/web/backends/%5B%3A%3A1%5D%3A80");
    }
}

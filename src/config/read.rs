//! Reads one table: takes the keys that its section knows, reports every other and every value that cannot be right.

use std::collections::HashMap;
use std::hash::Hash;

use super::errors::{Error, Place, Reason, Report};
use super::keys::{Key, Kind, Preset, Section};
use super::near::near;
use super::needs::{Need, Needed};
use super::typed::{Node, Table, Value};
use super::values::wrong_type;

const COMMAND_EXAMPLE: &str = "[\"/usr/bin/check\", \"--fast\"]";

/// One table under its section. Every getter answers `None` for a value that is wrong and has been reported.
pub(super) struct Reader<'n, 't> {
    section: &'static Section,
    table: &'n Table<'t>,
    place: Place,
    /// Such as `pool "api"`.
    owner: String,
    report: &'n Report,
}

impl<'n, 't> Reader<'n, 't> {
    /// Reports every key that the section does not know.
    pub(super) fn new(
        section: &'static Section,
        table: &'n Table<'t>,
        place: Place,
        owner: String,
        report: &'n Report,
    ) -> Self {
        let reader = Self { section, table, place, owner, report };
        for (name, entry) in table {
            if !section.names().any(|known| known == name) {
                let reason = Reason::UnknownKey {
                    near: near(name, section.names()),
                    known: section.names().collect(),
                };
                reader.report_key(entry.key_place.clone(), &super::typed::shown(name), reason);
            }
        }
        reader
    }

    /// The reader of a table inside this one.
    pub(super) fn inner<'i>(
        &self,
        section: &'static Section,
        table: &'i Table<'t>,
        place: Place,
        owner: &str,
    ) -> Reader<'i, 't>
    where
        'n: 'i,
    {
        Reader::new(section, table, place, owner.to_owned(), self.report)
    }

    /// Such as `pool "api"`.
    pub(super) fn owner(&self) -> &str {
        &self.owner
    }

    /// A table inside of this one.
    pub(super) fn inside(&self, section: &'static Section, table: &'n Table<'t>, place: Place) -> Self {
        Self::new(section, table, place, self.owner.clone(), self.report)
    }

    /// Reports more of something than there may be.
    pub(super) fn at_most(&self, what: &'static str, count: usize, max: usize) -> Option<()> {
        if count > max {
            self.report_key(self.place.clone(), "", Reason::TooMany { what, count, max });
            return None;
        }
        Some(())
    }

    /// A value, or its default; a required one that is missing is reported.
    pub(super) fn get<T>(&self, name: &str, parse: fn(&Key, &Node<'_>) -> Result<T, Reason>) -> Option<T> {
        let key = self.key(name);
        match (self.node(name), key.default) {
            (Some(node), _) => self.parse(key, node, parse),
            (None, Preset::Is(word)) => self.parse(key, &Node::word(self.place.clone(), word), parse),
            (None, Preset::Required | Preset::Follows(_)) => {
                self.report(&self.place, name, Reason::Missing(missing_cure(key)));
                None
            }
        }
    }

    /// A value, or `Some(None)` if it is not given: its default depends on another key.
    pub(super) fn get_if_given<T>(
        &self,
        name: &str,
        parse: fn(&Key, &Node<'_>) -> Result<T, Reason>,
    ) -> Option<Option<T>> {
        match self.node(name) {
            Some(node) => self.parse(self.key(name), node, parse).map(Some),
            None => Some(None),
        }
    }

    /// One value or a list of them, each with its place; `None` stands for one that is wrong.
    pub(super) fn list<T>(
        &self,
        name: &str,
        parse: fn(&Key, &Node<'_>) -> Result<T, Reason>,
    ) -> Option<Vec<Option<(T, Place)>>> {
        let key = self.key(name);
        match (self.node(name), key.default) {
            (Some(node), _) => self.items(key, node, parse),
            (None, Preset::Is(word)) => self.items(key, &Node::word(self.place.clone(), word), parse),
            (None, Preset::Required | Preset::Follows(_)) => {
                self.report(&self.place, name, Reason::Missing(missing_cure(key)));
                None
            }
        }
    }

    fn items<T>(
        &self,
        key: &Key,
        node: &Node<'_>,
        parse: fn(&Key, &Node<'_>) -> Result<T, Reason>,
    ) -> Option<Vec<Option<(T, Place)>>> {
        let Some((what, one, max)) = key.kind.items() else { unreachable!("{} is no list", key.name) };
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            // A program with its arguments in one text would be taken for a program of that name.
            _ if matches!(key.kind, Kind::Texts(_)) => {
                let wanted = format!("{}, such as {COMMAND_EXAMPLE}", key.kind.wanted());
                self.report(&node.place, key.name, wrong_type(node, wanted));
                return None;
            }
            _ => std::slice::from_ref(node),
        };
        if items.is_empty() {
            let words = format!("the list is empty; give at least one {one}");
            self.report(&node.place, key.name, Reason::Conflict(words));
            return None;
        }
        if items.len() > max {
            self.report(&node.place, key.name, Reason::TooMany { what, count: items.len(), max });
            return None;
        }
        let read = |item| Some((self.parse(key, item, parse)?, item.place.clone()));
        Some(items.iter().map(read).collect())
    }

    /// The table of this name; an empty one if it is not given.
    pub(super) fn table(&self, name: &str, empty: &'n Table<'t>) -> Option<(&'n Table<'t>, Place)> {
        match self.node(name) {
            None => Some((empty, self.place.clone())),
            Some(Node { value: Value::Table(table), place, .. }) => Some((table, place.clone())),
            Some(node) => {
                let header = self.dotted(name);
                self.report(
                    &node.place,
                    name,
                    wrong_type(node, format!("[{header}], with one bracket, and once")),
                );
                None
            }
        }
    }

    /// The same without a word if it is no table: for what is read elsewhere.
    pub(super) fn table_if_right(&self, name: &str, empty: &'n Table<'t>) -> Option<(&'n Table<'t>, Place)> {
        match self.node(name) {
            Some(Node { value: Value::Table(_), .. }) | None => self.table(name, empty),
            Some(_) => None,
        }
    }

    /// Every table of this name, in file order.
    pub(super) fn tables(&self, name: &str) -> Option<Vec<(&'n Table<'t>, Place)>> {
        let header = self.dotted(name);
        let wrong = |node: &Node<'_>| {
            let wanted = format!("[[{header}]], with two brackets, for each {name}");
            self.report(&node.place, name, wrong_type(node, wanted));
        };
        let one = |item: &'n Node<'t>| match &item.value {
            Value::Table(table) => Some((table, item.place.clone())),
            _ => {
                wrong(item);
                None
            }
        };
        match self.node(name) {
            None => Some(Vec::new()),
            Some(Node { value: Value::List(items), .. }) => all(items.iter().map(one)),
            Some(node) => {
                wrong(node);
                None
            }
        }
    }

    /// Reports `value` if it was seen before.
    pub(super) fn unique<K: Eq + Hash>(
        &self,
        seen: &mut HashMap<K, Place>,
        name: &str,
        value: K,
        shown: String,
        place: Place,
        within: &'static str,
    ) {
        match seen.get(&value) {
            Some(first) if *first == place => {
                let words = format!("{shown} is given twice {within}; remove one of them");
                self.report(&place, name, Reason::Conflict(words));
            }
            Some(first) => {
                let reason = Reason::Duplicate { typed: shown, within, first: first.clone() };
                self.report(&place, name, reason);
            }
            None => {
                seen.insert(value, place);
            }
        }
    }

    /// Where this value stands; where the table stands if it is not given.
    pub(super) fn place_of(&self, name: &str) -> Place {
        self.node(name).map_or_else(|| self.place.clone(), |node| node.place.clone())
    }

    pub(super) fn is_given(&self, name: &str) -> bool {
        self.node(name).is_some()
    }

    pub(super) fn report(&self, place: &Place, name: &str, reason: Reason) {
        self.report_key(place.clone(), name, reason);
    }

    /// Remembers that this has to be there on the machine.
    pub(super) fn need(&self, place: Place, name: &str, what: Needed) {
        self.report.need(Need { place, key: self.dotted(name), owner: self.owner.clone(), what });
    }

    fn report_key(&self, place: Place, name: &str, reason: Reason) {
        self.report.push(Error { place, key: self.dotted(name), owner: self.owner.clone(), reason });
    }

    fn node(&self, name: &str) -> Option<&'n Node<'t>> {
        self.table.get(name).map(|entry| &entry.node)
    }

    fn parse<T>(
        &self,
        key: &Key,
        node: &Node<'_>,
        parse: fn(&Key, &Node<'_>) -> Result<T, Reason>,
    ) -> Option<T> {
        parse(key, node).map_err(|reason| self.report(&node.place, key.name, reason)).ok()
    }

    /// A name that the table of keys does not have is a mistake of ours, and the first test finds it.
    fn key(&self, name: &str) -> &'static Key {
        let key = self.section.key(name);
        key.unwrap_or_else(|| unreachable!("{}.{name} is not in the table of keys", self.section.path))
    }

    fn dotted(&self, name: &str) -> String {
        match self.section.path {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }
}

/// All of them, or none if one is wrong. Looks at every one, so that every one is reported.
pub(super) fn all<T>(items: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let items: Vec<Option<T>> = items.collect();
    items.into_iter().collect()
}

fn missing_cure(key: &Key) -> String {
    let example = match key.kind {
        Kind::Name => "web",
        Kind::PoolName => "api",
        Kind::Addresses(_) => "0.0.0.0:8000",
        Kind::Networks(_) => "10.0.0.0/8",
        Kind::Address => "10.0.0.1:8080",
        Kind::Texts(_) => return format!("add a line such as: {} = {COMMAND_EXAMPLE}", key.name),
        _ => return format!("write {}", key.kind.range()),
    };
    format!("add a line such as: {} = \"{example}\"", key.name)
}

//! The JSON of states and diffs, made by copying the texts of keys and metas.

use bytestring::ByteString;
use millrace_wire::push_string;

use crate::PhxRef;
use crate::member::{Entry, Member};

const REF: &str = "{\"phx_ref\":\"";
const REF_PREV: &str = ",\"phx_ref_prev\":\"";
const METAS: &str = "{\"metas\":[";

/// `{"<key>":{"metas":[…]},…}` with the entries that are wanted; keys without one are left out.
pub(crate) fn members<'a, K: AsRef<str> + 'a>(
    members: impl Iterator<Item = (K, &'a Member)> + Clone,
    wanted: impl Fn(&Entry) -> bool + Copy,
) -> ByteString {
    members_behind("{}", members, wanted)
}

/// The text of some members, with others behind them. None of their keys may be in the text.
pub(crate) fn members_behind<'a, K: AsRef<str> + 'a>(
    text: &str,
    members: impl Iterator<Item = (K, &'a Member)> + Clone,
    wanted: impl Fn(&Entry) -> bool + Copy,
) -> ByteString {
    let mut out = String::with_capacity(text.len() + size(members.clone(), wanted));
    out.push_str(text.strip_suffix('}').unwrap_or(text));
    push_members(&mut out, members, wanted);
    out.push('}');
    finish(out)
}

/// `{"joins":{…},"leaves":{…}}` of the members that have changed.
pub(crate) fn diff<'a, K: AsRef<str> + 'a>(
    changed: impl Iterator<Item = (K, &'a Member)> + Clone,
) -> ByteString {
    let is_join = |entry: &Entry| !entry.is_known();
    let is_leave = |entry: &Entry| !entry.is_current();
    let bytes = size(changed.clone(), is_join) + size(changed.clone(), is_leave) + 24;
    let mut out = String::with_capacity(bytes);
    out.push_str("{\"joins\":{");
    push_members(&mut out, changed.clone(), is_join);
    out.push_str("},\"leaves\":{");
    push_members(&mut out, changed, is_leave);
    out.push_str("}}");
    finish(out)
}

/// `{"metas":[…]}` of one member.
pub(crate) fn member(member: &Member, wanted: impl Fn(&Entry) -> bool) -> ByteString {
    let mut out = String::new();
    push_metas(&mut out, member, wanted);
    finish(out)
}

/// `{"n":…}`.
pub(crate) fn count(n: usize) -> ByteString {
    format!("{{\"n\":{n}}}").into()
}

/// `"<key>":{"metas":[…]},…`, behind the brace that opens the object or behind other members.
fn push_members<'a, K: AsRef<str> + 'a>(
    out: &mut String,
    members: impl Iterator<Item = (K, &'a Member)>,
    wanted: impl Fn(&Entry) -> bool + Copy,
) {
    for (key, member) in members.filter(|(_, member)| member.metas.iter().any(wanted)) {
        if !out.ends_with('{') {
            out.push(',');
        }
        push_string(out, key.as_ref());
        out.push(':');
        push_metas(out, member, wanted);
    }
}

fn push_metas(out: &mut String, member: &Member, wanted: impl Fn(&Entry) -> bool) {
    out.push_str(METAS);
    let mut is_first = true;
    for entry in member.metas.iter().filter(|entry| wanted(entry)) {
        if !std::mem::take(&mut is_first) {
            out.push(',');
        }
        out.push_str(REF);
        entry.phx_ref.push_to(out);
        out.push('"');
        if let Some(prev) = entry.prev {
            out.push_str(REF_PREV);
            prev.push_to(out);
            out.push('"');
        }
        if !entry.meta.members().is_empty() {
            out.push(',');
            out.push_str(entry.meta.members());
        }
        out.push('}');
    }
    out.push_str("]}");
}

/// The size of the text in bytes, a little above what it is unless keys have escapes.
fn size<'a, K: AsRef<str> + 'a>(
    members: impl Iterator<Item = (K, &'a Member)>,
    wanted: impl Fn(&Entry) -> bool,
) -> usize {
    let entry_size = |entry: &Entry| {
        let prev = entry.prev.map_or(0, |_| REF_PREV.len() + PhxRef::CHARACTERS + 1);
        REF.len() + PhxRef::CHARACTERS + prev + entry.meta.members().len() + 4
    };
    let member_size = |(key, member): (K, &Member)| {
        let metas = member.metas.iter().filter(|entry| wanted(entry));
        match metas.map(entry_size).sum::<usize>() {
            0 => 0,
            metas => key.as_ref().len() + METAS.len() + metas + 6,
        }
    };
    members.map(member_size).sum::<usize>()
}

/// The text without the room behind it: states are kept for as long as they are true.
fn finish(mut out: String) -> ByteString {
    out.shrink_to_fit();
    out.into()
}

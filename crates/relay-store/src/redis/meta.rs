//! What a store is: its layout, in how many partitions, and its epoch.

use super::{
    check::{Finding, finding},
    client::Command,
    keys::Space,
    recount,
    reply::{Fault, Reply, number},
};

/// How keys and rows are laid out; a later one is not read.
pub(super) const LAYOUT: i64 = 1;

/// Asks what stands there.
pub(super) fn ask_meta(space: &Space) -> Command {
    Command::new("HMGET").arg(space.meta()).arg("layout").arg("partitions")
}

/// Why what stands there by that answer is nothing that this version, or a store in so many partitions, writes into, if so; also where
/// another node has become the primary.
///
/// # Errors
/// That answer says nothing.
pub(super) fn not_ours(answer: Reply, partitions: usize) -> Result<Option<Finding>, Fault> {
    Ok(apart(meta_of(vec![answer])?, partitions))
}

/// Why a store of that layout in so many partitions is nothing that this version writes into.
pub(super) fn apart(told: (Option<i64>, Option<i64>), partitions: usize) -> Option<Finding> {
    match told {
        (Some(layout), _) if layout > LAYOUT => Some(finding(
            format!("what is stored there is of layout {layout}, which a later version of crm-relay has made"),
            "start that version",
        )),
        (_, Some(theirs)) if theirs != partitions as i64 => Some(finding(
            format!("what is stored there is in {theirs} partitions and not in {partitions}"),
            format!("set REDIS_PARTITIONS={theirs}"),
        )),
        _ => None,
    }
}

/// Writes down what the store is, where that does not stand there yet, and an epoch, which goes with everything else where somebody empties
/// it.
pub(super) fn layout(space: &Space) -> Result<Vec<Command>, Fault> {
    let put = |field: &str, value: String| Command::new("HSETNX").arg(space.meta()).arg(field).arg(value);
    Ok(vec![
        put("layout", LAYOUT.to_string()),
        put("partitions", space.partitions().len().to_string()),
        put("epoch", recount::fresh_run()?),
    ])
}

/// The layout and the partitions that an answer tells of.
pub(super) fn meta_of(mut replies: Vec<Reply>) -> Result<(Option<i64>, Option<i64>), Fault> {
    let mut fields = replies.pop().unwrap_or(Reply::Nil).many()?.into_iter();
    let mut next = || match fields.next() {
        Some(Reply::Bytes(text)) => number(&text).ok(),
        _ => None,
    };
    Ok((next(), next()))
}

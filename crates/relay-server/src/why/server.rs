//! The server: it commits, has room, knows the time, and shows a certificate that holds.

use relay_core::time::Mono;

use super::Look;
use crate::{
    api::{CheckDto, Hop},
    clock::rough,
};

/// Each thing in its line; what is wrong for `/health` in place of it.
pub(super) fn checks(look: &Look<'_>) -> Vec<CheckDto> {
    let told: Vec<CheckDto> = look.told_at(Hop::Server, None).collect();
    let well = [Some(commit(look)), disk(look), backup(look), Some(clock(look)), certificate(look)];
    let is_told = |check: &CheckDto| told.iter().any(|told| told.check == check.check);
    let mut checks: Vec<CheckDto> = well.into_iter().flatten().filter(|check| !is_told(check)).collect();
    checks.extend(told);
    checks
}

fn commit(look: &Look<'_>) -> CheckDto {
    let up = rough(look.now.mono.since(Mono::default()));
    let (version, profile) = (env!("CARGO_PKG_VERSION"), look.report.condition.durability.as_str());
    let said = format!("stores what it answers ({profile}); version {version}, up {up}");
    CheckDto::ok(Hop::Server, "commit", said)
}

fn disk(look: &Look<'_>) -> Option<CheckDto> {
    let free = look.report.stats.disk_free_bytes?;
    Some(CheckDto::ok(Hop::Server, "disk", format!("{} MiB free", free >> 20)))
}

fn backup(look: &Look<'_>) -> Option<CheckDto> {
    let shown = look.state.health.backups()?;
    let said = match shown.age {
        Some(age) => format!("the newest is {} old, in {}", rough(age), shown.dir),
        None => format!("the first is being taken, in {}", shown.dir),
    };
    Some(CheckDto::ok(Hop::Server, "backup", said))
}

fn clock(look: &Look<'_>) -> CheckDto {
    let said = format!("this process goes by the system's clock, {}", crate::clock::rfc3339(look.now.wall));
    CheckDto::ok(Hop::Server, "clock", said)
}

fn certificate(look: &Look<'_>) -> Option<CheckDto> {
    let ends = look.state.health.certificate_ends()?;
    let left = rough(ends.at.since(look.state.clock.present()));
    Some(CheckDto::ok(Hop::Server, "certificate", format!("holds for {left} more ({})", ends.file.display())))
}

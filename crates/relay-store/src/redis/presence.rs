//! What runs of servers say of themselves.

use std::time::Duration;

use relay_core::{
    id::InstanceId,
    limits,
    name::Name,
    storage::{About, OpenCircuit, Presence, Reading, SeenCircuit, SeenClient},
    time::Wall,
};

use super::{
    Core,
    backlog::Urgency,
    client::Command,
    reply::{Fault, number},
    scripts::Script,
    text,
};
use crate::record::{
    RecordError,
    seal::{Fields, Sealing},
};

const VERSION: u8 = 1;

/// Its moment in the open, for the script, and all of it sealed.
fn write(said: &Presence) -> Vec<u8> {
    let mut out = text::moment(said.at).into_bytes();
    let mut record = Sealing::begin(VERSION, &mut out).about(&said.run.to_be_bytes());
    record.i64(said.at.as_micros());
    write_about(&mut record, &said.server);
    record.u8(u8::from(said.stopping));
    record.u8(u8::from(said.clock.is_some()));
    if let Some(Reading { ahead, within }) = said.clock {
        record.i64(ahead);
        write_span(&mut record, within);
    }
    record.u32(said.clients.len() as u32);
    for SeenClient { instance, since, serves } in &said.clients {
        record.u128(instance.as_u128());
        record.i64(since.as_micros());
        record.u16(serves.len() as u16);
        for name in serves {
            record.text(name.as_str());
        }
    }
    record.u32(said.circuits.len() as u32);
    for circuit in &said.circuits {
        write_circuit(&mut record, circuit);
    }
    record.end();
    out
}

fn write_about(record: &mut Sealing<'_>, About { version, name, address, config }: &About) {
    for text in [version, name, address] {
        record.text(text);
    }
    record.raw(config);
}

fn write_circuit(record: &mut Sealing<'_>, SeenCircuit { instance, since, destination, open }: &SeenCircuit) {
    record.u128(instance.as_u128());
    record.i64(since.as_micros());
    record.text(destination.as_str());
    for span in [open.lasts, open.pause, open.left] {
        write_span(record, span);
    }
    record.u8(u8::from(open.unreachable_only));
    record.u8(u8::from(open.error.is_some()));
    if let Some(error) = &open.error {
        record.text(error);
    }
}

fn write_span(record: &mut Sealing<'_>, span: Duration) {
    record.u64(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
}

/// Reads what a run said.
///
/// # Errors
/// It is not what it wrote.
pub(super) fn read(run: u64, said: &[u8]) -> Result<Presence, RecordError> {
    let (moment, sealed) = said.split_at_checked(text::MOMENT).ok_or(RecordError::Short)?;
    let mut fields = Fields::open(VERSION, &[&run.to_be_bytes()], sealed)?;
    let at = Wall::from_micros(fields.i64()?);
    // What the script goes by.
    if moment != text::moment(at).as_bytes() {
        return Err(RecordError::Field("its moment"));
    }
    let server = read_about(&mut fields)?;
    let stopping = fields.flag("stopping")?;
    let clock = if fields.flag("a clock")? {
        Some(Reading { ahead: fields.i64()?, within: read_span(&mut fields)? })
    } else {
        None
    };
    let mut clients = Vec::new();
    for _ in 0..fields.u32()? {
        let instance = InstanceId::from_u128(fields.u128()?);
        let since = Wall::from_micros(fields.i64()?);
        let mut serves = Vec::new();
        for _ in 0..fields.u16()? {
            serves.push(read_name(&mut fields)?);
        }
        clients.push(SeenClient { instance, since, serves });
    }
    let mut circuits = Vec::new();
    for _ in 0..fields.u32()? {
        circuits.push(read_circuit(&mut fields)?);
    }
    fields.end()?;
    Ok(Presence { run, at, server, stopping, clock, clients, circuits })
}

fn read_about(fields: &mut Fields<'_>) -> Result<About, RecordError> {
    Ok(About {
        version: fields.text("a version")?.into(),
        name: fields.text("a server")?.into(),
        address: fields.text("an address")?.into(),
        config: fields.array()?,
    })
}

fn read_circuit(fields: &mut Fields<'_>) -> Result<SeenCircuit, RecordError> {
    let instance = InstanceId::from_u128(fields.u128()?);
    let since = Wall::from_micros(fields.i64()?);
    let destination = read_name(fields)?;
    let [lasts, pause, left] = [read_span(fields)?, read_span(fields)?, read_span(fields)?];
    let unreachable_only = fields.flag("unreachable")?;
    let error = if fields.flag("an error")? { Some(fields.text("an error")?.into()) } else { None };
    let open = OpenCircuit { lasts, pause, left, unreachable_only, error };
    Ok(SeenCircuit { instance, since, destination, open })
}

fn read_name(fields: &mut Fields<'_>) -> Result<Name, RecordError> {
    fields.text("a name")?.parse().map_err(|_| RecordError::Field("a name"))
}

fn read_span(fields: &mut Fields<'_>) -> Result<Duration, RecordError> {
    Ok(Duration::from_micros(fields.u64()?))
}

impl Core {
    /// What time it is there. Of several primaries the first one's is everybody's.
    pub(super) async fn clock(&self) -> Result<Wall, Fault> {
        let mut parts = self.nodes.one(Command::new("TIME")).await?.many()?.into_iter();
        let (Some(seconds), Some(micros)) = (parts.next(), parts.next()) else {
            return Err(Fault::Damaged("a time that is none".into()));
        };
        Ok(Wall::from_micros(number(&seconds.bytes()?)? * 1_000_000 + number(&micros.bytes()?)?))
    }

    /// Takes down what one run says, and tells what the others say.
    pub(super) async fn presence(&self, mine: &Presence) -> Result<Vec<Presence>, Fault> {
        self.life.check()?;
        let gone = Wall::from_micros(mine.at.as_micros() - limits::PRESENCE_GONE.as_micros() as i64);
        let arguments = [mine.run.to_be_bytes().to_vec(), write(mine), text::moment(gone).into_bytes()];
        let reply = self.nodes.commit(Urgency::Other, Script::Presence.call(&[self.space.runs()], arguments)).await?;
        let mut parts = reply.many()?.into_iter();
        let mut others = Vec::new();
        while let (Some(run), Some(said)) = (parts.next(), parts.next()) {
            // The script takes out what is none.
            let Ok(run) = <[u8; 8]>::try_from(run.bytes()?) else { continue };
            let run = u64::from_be_bytes(run);
            others.extend(self.damage.passed(&format_args!("words of run {run:x}"), read(run, &said.bytes()?)));
        }
        others.sort_by_key(|said| said.run);
        self.hints.know(mine.run, !others.is_empty());
        Ok(others)
    }
}

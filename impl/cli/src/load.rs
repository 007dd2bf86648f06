//! `custody load` and `custody lease`: a device at work, asked from its host.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::args::{LeaseArgs, LoadArgs};
use crate::control::{DeviceAsk, ask, ask_with};
use crate::failure::{Failure, io_at};
use crate::layout::Folder;
use crate::screen;

pub fn run(args: &LoadArgs) -> Result<(), Failure> {
    let socket = Folder(args.device.clone()).path("control.sock");
    let model =
        fs::canonicalize(&args.model).map_err(|e| io_at(&args.model, "open the file", &e))?;
    if args.replace {
        // A device that holds nothing has nothing to give up.
        let _ = ask(&socket, &DeviceAsk::Release);
    }
    let bar = screen::bar(0, "loading");
    let loaded = ask_with(&socket, &DeviceAsk::Load { model }, LONGEST, &mut |opened, total| {
        bar.set_length(total);
        bar.set_position(opened);
    });
    bar.finish_and_clear();
    let loaded = loaded?;
    if args.json {
        say!("{loaded}");
        return Ok(());
    }
    let time =
        |name: &str| screen::duration(Duration::from_micros(loaded[name].as_u64().unwrap_or(0)));
    say!("released in {}", time("release_micros"));
    say!("loaded in   {} into {}", time("load_micros"), loaded["backing"].as_str().unwrap_or("?"));
    let left_out = loaded["left_out"].as_array().map_or(&[][..], Vec::as_slice);
    if !left_out.is_empty() {
        say!("left out    custodian {}", screen::list(left_out));
    }
    Ok(())
}

pub fn lease(args: &LeaseArgs) -> Result<(), Failure> {
    let socket = Folder(args.device.clone()).path("control.sock");
    let status = ask(&socket, &DeviceAsk::Status)?;
    if args.json {
        say!("{status}");
        return Ok(());
    }
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    say!("device       {}, model {}", text(&status["guard"]), text(&status["custody"]));
    say!("incarnation  {}", text(&status["incarnation"]));
    say!("leases       {} count now", status["counting"]);
    for lease in status["leases"].as_array().map_or(&[][..], Vec::as_slice) {
        let (custodian, renewals) = (&lease["custodian"], &lease["renewals"]);
        say!(
            "  custodian {custodian}  {}  {}, {renewals} renewals",
            text(&lease["lease"]),
            text(&lease["state"])
        );
    }
    if let Some(why) = status["stopped"].as_str() {
        say!("The last model left because: {why}");
    }
    Ok(())
}

const LONGEST: Duration = Duration::from_secs(620);

//! What weir-control writes, and what it makes of what others did to it: the copy of the last good
//! generation, and files that are replaced.

use http::{Method, StatusCode};
use serde_json::json;
use weir_control::descriptor_store::Inherited;
use weir_control::testing::{Appliance, LIST};

const ENTRIES: &str = "/v1/lists/hq-egress/entries";

#[tokio::test]
async fn a_copy_that_could_not_be_made_is_made_when_there_is_room_again() {
    let appliance = Appliance::start().await;
    until_copied(&appliance, 1).await;
    let copy = appliance.path("state/last-good");
    std::fs::remove_dir_all(&copy).expect("removed");
    std::fs::write(&copy, "no directory").expect("written");
    let entry = json!({ "prefix": "198.51.100.7" });
    let (status, done) = appliance.ask(Method::POST, ENTRIES, Some(entry)).await;
    assert_eq!(status, StatusCode::OK, "{done}");
    let warned = async || {
        let status = appliance.get("/v1/status").await;
        status["warnings"].to_string().contains("there is no copy")
    };
    while !warned().await {
        tokio::task::yield_now().await;
    }

    std::fs::remove_file(&copy).expect("removed");

    until_copied(&appliance, 2).await;
    assert!(!warned().await);
}

#[tokio::test]
async fn a_copy_that_is_not_whole_stands_in_for_nothing() {
    for (broken, of_copy) in [("hq.list", ".list"), ("weir.toml", ".toml")] {
        let appliance = Appliance::start().await;
        until_copied(&appliance, 1).await;
        let copy = appliance.path("state/last-good");
        let stopped = appliance.kill().await;
        stopped.write(broken, "");
        for entry in std::fs::read_dir(copy).expect("it is there") {
            let path = entry.expect("it can be read").path();
            if path.to_string_lossy().ends_with(of_copy) {
                let text = std::fs::read_to_string(&path).expect("text");
                // Half a list, and a configuration that says something else.
                let text = match of_copy {
                    ".list" => text.lines().take(1).collect(),
                    _ => text.replace("198.51.100.128/25", "0.0.0.0/1"),
                };
                std::fs::write(path, text).expect("written");
            }
        }

        let error = stopped
            .start(Inherited::default())
            .await
            .expect_err("nothing to start with");

        assert!(error.to_string().contains(broken), "{error}");
    }
}

#[tokio::test]
async fn a_link_beside_a_list_is_not_written_through() {
    let appliance = Appliance::start().await;
    appliance.write("other", "somebody else's\n");
    let beside = appliance.path("hq.list.new");
    std::os::unix::fs::symlink(appliance.path("other"), beside).expect("a link");

    let entry = json!({ "prefix": "198.51.100.7" });
    let (status, done) = appliance.ask(Method::POST, ENTRIES, Some(entry)).await;

    assert_eq!(status, StatusCode::OK, "{done}");
    assert_eq!(appliance.read("other"), "somebody else's\n");
    assert!(appliance.read("hq.list").starts_with(LIST));
    assert!(!appliance.path("hq.list").is_symlink());
}

async fn until_copied(appliance: &Appliance, generation: u64) {
    while appliance.get("/v1/status").await["config"]["copied"] != generation {
        tokio::task::yield_now().await;
    }
}

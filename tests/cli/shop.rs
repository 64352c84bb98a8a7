//! The example of a shop, from its two files to answers over HTTP: what is served is what the library says.

#[path = "../../recsys/examples/shop.rs"]
#[allow(dead_code)] // its `main`
mod example;

use cairn::recsys::features::{FeatureRow, TwoTowerModel};
use cairn::recsys::{Filter, Fitted};
use serde_json::{Value, json};

use crate::http::Server;
use crate::saved::said;

#[test]
fn a_shop_goes_from_two_files_to_a_server_that_knows_sessions_and_features() {
    let folder = tempfile::tempdir().unwrap();
    let files = example::generated(folder.path()).unwrap();
    example::run(&files).unwrap();
    let model = Fitted::<TwoTowerModel, String, String>::load(&files[2]).unwrap();
    let server = Server::start(&[files[2].to_str().unwrap()]);
    let asked = |body: &Value| {
        let answer = server.post("/v1/recommend", body);
        assert_eq!(answer.status, 200, "{body}: {}", answer.body);
        answer.json()["data"].clone()
    };
    let session = ["item3", "item8"].map(str::to_owned);
    let next = model.recommend_session(&session, 7, &Filter::unseen()).unwrap();
    assert_eq!(asked(&json!({"model": "shop", "history": session, "count": 7})), said(&next));
    let described = |kind: &str| {
        let row = FeatureRow::new().category("came_for", kind);
        said(&model.recommend_described(&row, 7, &Filter::unseen()).unwrap())
    };
    for kind in ["kind 3", "kind 1", "a kind of which nothing is known"] {
        let body = json!({"features": {"came_for": kind}, "count": 7});
        assert_eq!(asked(&body), described(kind));
    }
    assert_ne!(described("kind 3"), described("kind 1"));
    let user = model.recommend_next("user7", &session, 7, &Filter::unseen()).unwrap();
    assert_eq!(asked(&json!({"user": "user7", "history": session, "count": 7})), said(&user));
    let article = FeatureRow::new().category("kind", "kind 3").number("price", 12.5);
    let score = model.score_new_items("user7", &[article]).unwrap()[0];
    let answer = asked(&json!({"user": "user7", "items": [{"kind": "kind 3", "price": 12.5}]}));
    assert_eq!(answer[0]["score"], score.to_string().parse::<f64>().unwrap());
}
